from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bon_common.chat_template import without_developer

KNOWS = "{% if role in ['system', \"developer\"] %}"
ASKS_FOR_THE_REST = "{% if message.role == 'user' or message.role == 'system' %}"


def turns(*roles: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": f"{role} {place}"} for place, role in enumerate(roles)]


def test_it_becomes_the_systems() -> None:
    assert without_developer(turns("developer", "user"), ASKS_FOR_THE_REST) == [
        {"role": "system", "content": "developer 0"},
        {"role": "user", "content": "user 1"},
    ]


def test_all_instructions_become_one_message_in_front() -> None:
    roles = ("system", "user", "assistant", "developer", "user", "system")
    assert without_developer(turns(*roles), ASKS_FOR_THE_REST) == [
        {"role": "system", "content": "system 0\n\ndeveloper 3\n\nsystem 5"},
        {"role": "user", "content": "user 1"},
        {"role": "assistant", "content": "assistant 2"},
        {"role": "user", "content": "user 4"},
    ]


@pytest.mark.parametrize("template", [KNOWS, {"default": KNOWS}])
def test_a_template_that_knows_it_gets_it(template: object) -> None:
    given = turns("system", "developer", "user")
    assert without_developer(given, template) == given


ROLES = some.lists(some.sampled_from(["system", "developer", "user", "assistant", "tool"]))


@given(roles=ROLES)
def test_no_words_are_lost_and_no_turn_is_changed_without_need(roles: list[str]) -> None:
    before = turns(*roles)
    after = without_developer(before, ASKS_FOR_THE_REST)
    if "developer" not in roles:
        assert after == before
        return
    instructions = ("system", "developer")
    assert after[0]["content"].split("\n\n") == [
        turn["content"] for turn in before if turn["role"] in instructions
    ]
    assert after[1:] == [turn for turn in before if turn["role"] not in instructions]
