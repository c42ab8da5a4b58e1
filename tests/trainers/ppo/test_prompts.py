"""Which prompts a run has, and which an iteration gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from trainers.base.errors import DataError
from trainers.ppo.prompts import prompts_of, read_prompt_set


def write(path: Path, *texts: str) -> Path:
    lines = [{"prompt": [{"role": "user", "content": text}], "chosen": []} for text in texts]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_repeated_and_long_prompts_are_dropped_and_counted(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    long = "bear " * 30
    path = write(tmp_path / "p.jsonl", "one bear", "two", "one bear", long, "one bear")
    found = read_prompt_set(path, tokenizer, max_tokens=20)
    assert [p.asked.messages[0]["content"] for p in found.prompts] == ["one bear", "two"]
    assert (found.repeated, found.too_long) == (2, 1)


def test_prompts_end_with_the_opening_of_the_answer(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    found = read_prompt_set(write(tmp_path / "p.jsonl", "two snacks"), tokenizer, 20)
    assert tokenizer.decode(found.prompts[0].ids) == "<|user|>two snacks<eos><|assistant|>"


def test_nothing_left_is_an_error(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    path = write(tmp_path / "p.jsonl", "two snacks for my bear")
    with pytest.raises(DataError, match=r"p\.jsonl: every prompt exceeds max_prompt_tokens 3"):
        read_prompt_set(path, tokenizer, 3)


def test_a_line_without_a_prompt_is_named(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": [{"role": "user", "content": "a"}]}\n{"text": "b"}\n')
    with pytest.raises(DataError, match=r"p\.jsonl:2: prompt: Field required"):
        read_prompt_set(path, tokenizer, 20)


def test_each_pass_takes_every_prompt_once_in_an_order_of_its_own() -> None:
    places = [i for iteration in range(6) for i in prompts_of(iteration, 5, 10, seed=0)]
    passes = [places[:10], places[10:20], places[20:]]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_the_order_follows_from_seed_and_iteration_alone() -> None:
    assert prompts_of(3, 7, 10, seed=1) == prompts_of(3, 7, 10, seed=1)
    assert prompts_of(3, 7, 10, seed=1) != prompts_of(3, 7, 10, seed=2)


def test_more_prompts_than_there_are_start_over() -> None:
    assert sorted(prompts_of(0, 6, 3, seed=0)) == [0, 0, 1, 1, 2, 2]


def test_of_repeated_prompts_the_first_ones_metadata_counts(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    lines = [{"prompt": "two", "metadata": {"reference": n}} for n in (1, 2)]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_prompt_set(path, tokenizer, max_tokens=20)
    assert [prompt.asked.metadata for prompt in found.prompts] == [{"reference": 1}]
    assert found.repeated == 1
