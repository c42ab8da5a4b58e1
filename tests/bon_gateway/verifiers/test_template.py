"""Places to fill in."""

from __future__ import annotations

from typing import Any

import pytest

from bon_gateway.types import RewardRequest
from bon_gateway.verifiers.template import LackingError, render
from tests.bon_gateway.verifiers.support import MESSAGES, said

ITEM = {"reference": "7", "deep": {"list": [{"name": "x"}, None]}, "number": 1.5}
ANSWER = said('{"total": 3, "parts": ["a"]}', tool_calls=[{"function": {"name": "f"}}])


def filled(template: str, answer: Any = ANSWER) -> str:
    return render(template, RewardRequest(MESSAGES, metadata=ITEM), answer, answer["content"])


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("no place", "no place"),
        ("{{ item.reference }}", "7"),
        ("<{{item.reference}}|{{ item.number }}>", "<7|1.5>"),
        ("{{ item.deep.list[0].name }}", "x"),
        ("{{ item.deep }}", '{"list":[{"name":"x"},null]}'),
        ("{{ sample.output_text }}", ANSWER["content"]),
        ("{{ sample.output_json.total }}", "3"),
        ("{{ sample.output_json.parts[0] }}", "a"),
        ("{{ sample.output_tools[0].function.name }}", "f"),
        ("{{ sample.choices[0].message.content }}", ANSWER["content"]),
    ],
)
def test_they_are_filled_in(template: str, text: str) -> None:
    assert filled(template) == text


def test_what_an_answer_says_is_not_read_as_a_template() -> None:
    assert (
        filled("{{ sample.output_text }}", said("{{ item.reference }}")) == "{{ item.reference }}"
    )


@pytest.mark.parametrize(
    ("template", "outcome", "reason"),
    [
        ("{{ item.other }}", "abstain", "no item.other"),
        ("{{ item.deep.list[2] }}", "abstain", "no item.deep.list[2]"),
        ("{{ item.deep.list[1] }}", "abstain", "no item.deep.list[1]"),
        ("{{ sample.output_json.other }}", "fail", "no sample.output_json.other"),
    ],
)
def test_what_is_missing_is_whose_fault_it_is(template: str, outcome: str, reason: str) -> None:
    with pytest.raises(LackingError) as raised:
        filled(template)
    verdict = raised.value.verdict()
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
