"""The function that knows the true reward, found by its name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainers.base.data import Message
from trainers.base.errors import SettingsError
from trainers.demo.gold import gold
from trainers.rewards.gold import GoldSettings, load_gold

PROMPT = [Message(role="user", content="Name two snacks for my bear")]


def of_length(messages: list[Message], answer: str) -> int:
    return len(messages) + len(answer)


def test_a_number_or_one_of_its_parts() -> None:
    plain = load_gold(GoldSettings(function=f"{__name__}:of_length"))
    assert plain(PROMPT, "four") == 5.0
    part = load_gold(GoldSettings(function="trainers.demo.gold:gold", field="friendly"))
    assert part(PROMPT, "honey, dear") == gold(PROMPT, "honey, dear").friendly == 0.5


@pytest.mark.parametrize("function", ["nowhere.to_be:found", "trainers.demo.gold:silver"])
def test_what_is_not_there_is_named(function: str) -> None:
    with pytest.raises(SettingsError, match=f"^gold.function: {function}: "):
        load_gold(GoldSettings(function=function))


def test_a_function_has_a_module() -> None:
    with pytest.raises(ValidationError, match="function"):
        GoldSettings(function="gold")
