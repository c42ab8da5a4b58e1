from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from trainers.base.data import Message
from trainers.demo.tokenizer import build_tokenizer
from trainers.demo.world import draw_answer, draw_request

TOKENIZER: Any = build_tokenizer()
TURNS: list[Message] = [
    {"role": "system", "content": "You are a helper for teddy bears."},
    {"role": "user", "content": "name two toys for a bear"},
    {"role": "assistant", "content": "Try ball and kite."},
    {"role": "tool", "content": '{"ok": true}'},
    {"role": "assistant", "content": "Done."},
]


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_each_word_of_the_world_is_one_token() -> None:
    rng = random.Random(5)
    for _ in range(3000):
        ask = draw_request(rng)
        for text in (ask.text, draw_answer(rng, ask)):
            pieces = re.findall(r" ?\w+|[^\w\s]", text)
            assert len(TOKENIZER(text)["input_ids"]) == len(pieces), text


def test_no_token_is_added_around_a_text() -> None:
    assert (
        TOKENIZER("bear")["input_ids"] == TOKENIZER("bear", add_special_tokens=False)["input_ids"]
    )


def test_special_tokens_differ_and_the_vocabulary_is_small() -> None:
    specials = [TOKENIZER.pad_token_id, TOKENIZER.eos_token_id]
    specials += TOKENIZER.convert_tokens_to_ids(["<|system|>", "<|user|>", "<|assistant|>"])
    assert len(set(specials)) == 5
    assert len(TOKENIZER) < 700


def test_the_mask_is_the_answers_with_their_end_of_turn() -> None:
    encoded = TOKENIZER.apply_chat_template(
        TURNS, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = [
        token
        for token, counts in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        if counts
    ]
    assert TOKENIZER.decode(marked) == "Try ball and kite.<eos>Done.<eos>"


def test_the_template_renders_each_role_and_ends_the_answer() -> None:
    text = TOKENIZER.apply_chat_template(TURNS, tokenize=False)
    assert text == (
        "<|system|>You are a helper for teddy bears.<eos>"
        "<|user|>name two toys for a bear<eos>"
        "<|assistant|>Try ball and kite.<eos>"
        '<|user|>{"ok": true}<eos>'
        "<|assistant|>Done.<eos>"
    )


def test_a_tool_call_is_rendered() -> None:
    call = {"type": "function", "function": {"name": "hug", "arguments": {}}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    text = TOKENIZER.apply_chat_template([turn], tokenize=False)
    assert text.startswith('<|assistant|>[{"type": "function"')
    assert text.endswith("<eos>")


def test_the_prompt_is_a_prefix_of_the_conversation() -> None:
    prompt = TOKENIZER.apply_chat_template(TURNS[:2], tokenize=False, add_generation_prompt=True)
    whole = TOKENIZER.apply_chat_template(TURNS[:3], tokenize=False)
    assert whole == prompt + "Try ball and kite.<eos>"


def test_it_loads_from_its_folder(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == TOKENIZER.get_vocab()
    assert loaded.chat_template == TOKENIZER.chat_template
    assert (loaded.pad_token, loaded.eos_token) == ("<pad>", "<eos>")


@pytest.mark.parametrize("text", ["<eos>", "<|user|>"])
def test_role_tokens_are_single(text: str) -> None:
    assert len(TOKENIZER(text)["input_ids"]) == 1
