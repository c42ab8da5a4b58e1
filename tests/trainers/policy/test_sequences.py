"""The layout of prompts and answers."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from trainers.base.data import Conversation
from trainers.policy.rendering import prompt_ids
from trainers.policy.sequences import Sequences, by_length

PROMPTS = [[5, 6, 7], [8]]
ANSWERS = [[9], [10, 11, 12]]


@pytest.fixture
def batch() -> Sequences:
    return Sequences.build(PROMPTS, ANSWERS, pad=0)


def test_prompts_are_padded_on_the_left_and_answers_on_the_right(batch: Sequences) -> None:
    assert batch.ids.tolist() == [[5, 6, 7, 9, 0, 0], [0, 0, 8, 10, 11, 12]]
    assert batch.answers.tolist() == [[9, 0, 0], [10, 11, 12]]
    assert batch.answer_mask.tolist() == [[True, False, False], [True, True, True]]


def test_positions_count_real_tokens(batch: Sequences) -> None:
    assert batch.positions[batch.mask].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert batch.lengths.tolist() == [4, 4]


def test_selected_rows_lose_the_columns_that_are_padding_in_all_of_them(batch: Sequences) -> None:
    assert batch.select(torch.tensor([1])).ids.tolist() == [[8, 10, 11, 12]]
    first = batch.select(torch.tensor([0]))
    assert (first.ids.tolist(), first.width) == ([[5, 6, 7, 9]], 1)


def test_a_padding_id_within_an_answer_is_a_token_like_any_other() -> None:
    batch = Sequences.build([[5]], [[0, 0, 9]], pad=0)
    assert batch.answer_mask.tolist() == [[True, True, True]]


def test_batches_by_length_hold_every_row_once() -> None:
    batch = Sequences.build([[1] * n for n in (5, 1, 4, 2, 3)], [[2]] * 5, pad=0)
    parts = by_length(batch, torch.tensor([0, 1, 2, 4]), 2)
    assert [part.tolist() for part in parts] == [[1, 4], [2, 0]]


def test_the_answer_mask_decodes_to_the_answer_and_its_end(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    prompts = [
        prompt_ids(tokenizer, Conversation([{"role": "user", "content": text}]))
        for text in ("Name two snacks", "My bear is shy and old")
    ]
    answers = [tokenizer(text)["input_ids"] for text in ("cookies and jam.<eos>", "no<eos>")]
    batch = Sequences.build(prompts, answers, tokenizer.pad_token_id)
    decoded = [
        tokenizer.decode(row[keep])
        for row, keep in zip(batch.answers, batch.answer_mask, strict=True)
    ]
    assert decoded == ["cookies and jam.<eos>", "no<eos>"]
    assert tokenizer.decode(prompts[0]) == "<|user|>Name two snacks<eos><|assistant|>"
