"""What verifiers read beside a prompt: carried along, never part of it, never refused."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.trainers.preferences.helpers import bot, user, write_lines
from trainers.base.bad_lines import BadLines
from trainers.base.data import (
    Conversation,
    Demonstration,
    Pair,
    PromptRecord,
    VerifiableRecord,
    read_placed,
    read_records,
    write_records,
)
from trainers.base.metadata import read_metadata
from trainers.base.template_inputs import TemplateInputs
from trainers.evaluation.bench_files import BenchPair
from trainers.policy.rendering import prompt_ids
from trainers.rewards.pairs import SectionPair

EXPECTED = {"reference": "42", "source": {"file": "a", "line": 3}}
INPUTS = TemplateInputs(tools=({"type": "function", "function": {"name": "f"}},))
ASKED = Conversation([user("q")], INPUTS, EXPECTED)
UNREAD = "records with a field that is not read: metadata"
ANSWERS: dict[str, Any] = {"chosen": [bot("a")], "rejected": [bot("b")]}


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("value", ["text", '{"reference": "42"}', ["a"], 3, True, None])
def test_only_an_object_is_taken(value: object) -> None:
    assert read_metadata(value) == {}
    assert read_metadata({"any": value}) == {"any": value}


def test_an_object_that_no_file_could_hold_is_not_taken() -> None:
    for value in (datetime.date(2026, 1, 31), float("nan"), "\ud800", nested(200_000)):
        assert not read_metadata({"any": value})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_records(tmp_path / "p.jsonl", [ASKED.as_json(), Conversation([user("r")]).as_json()])
    first, second = read_records(PromptRecord, tmp_path / "p.jsonl")
    assert first.asked == ASKED
    assert second.asked.metadata == {}
    assert "metadata" not in second.asked.as_json()


def test_it_stays_with_the_conversation() -> None:
    said = ASKED.said("a")
    assert said == ASKED.answered([bot("a")])
    assert (said.inputs, said.metadata) == (INPUTS, EXPECTED)
    assert said.first(1) == ASKED


@pytest.mark.parametrize("inputs", [TemplateInputs(), INPUTS])
def test_a_prompt_with_other_metadata_is_the_same_prompt(inputs: TemplateInputs) -> None:
    bare, other = Conversation([user("q")], inputs), Conversation([user("q")], inputs, EXPECTED)
    assert bare.key == other.key
    assert bare != other


def test_no_chat_template_sees_it(tokenizer: PreTrainedTokenizerFast) -> None:
    bare, other = Conversation([user("q")]), Conversation([user("q")], metadata=EXPECTED)
    assert prompt_ids(tokenizer, bare) == prompt_ids(tokenizer, other)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (PromptRecord, {"prompt": "q"}),
        (PromptRecord, {"messages": [user("q"), bot("a")]}),
        (SectionPair, {"prompt": "q", **ANSWERS}),
        (BenchPair, {"prompt": "q", "chosen": "a", "rejected": "b", "subset": "s"}),
    ],
)
def test_records_whose_answers_get_rewards_take_an_object(
    tmp_path: Path, kind: type[VerifiableRecord], line: dict[str, Any]
) -> None:
    others: list[Any] = ["text", ["a"], [user("q") | {"weight": 1}], 3, {}, None]
    lines = [line | {"metadata": value} for value in (EXPECTED, *others)]
    bad = BadLines()
    records = read_placed(kind, write_lines(tmp_path / "d.jsonl", *lines), bad)
    assert [record.asked.metadata for _, record in records] == [EXPECTED, *[{}] * len(others)]
    # The last two hold nothing.
    assert bad.figures() == {UNREAD: 4}


@pytest.mark.parametrize(
    ("kind", "line"),
    [(Pair, {"prompt": "q", **ANSWERS}), (Demonstration, {"messages": [user("q"), bot("a")]})],
)
def test_where_nobody_verifies_it_is_not_read(
    tmp_path: Path, kind: type[Any], line: dict[str, Any]
) -> None:
    bad = BadLines()
    read_placed(kind, write_lines(tmp_path / "d.jsonl", line | {"metadata": EXPECTED}), bad)
    assert bad.figures() == {UNREAD: 1}
