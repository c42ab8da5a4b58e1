"""What a variant changes in a client's request, and what it leaves."""

from __future__ import annotations

from typing import Any

import pytest

from bon_gateway.backends.policy.variants.prompt import asked, with_suffix
from bon_gateway.backends.policy.variants.settings import VariantSettings
from bon_gateway.types import ChatRequest

USER = {"role": "user", "content": "2 + 2?"}


def request(**sampling: Any) -> ChatRequest:
    return ChatRequest([USER], sampling, 7, 1, "request")


@pytest.mark.parametrize(
    ("messages", "changed"),
    [
        ([USER], [{"role": "system", "content": "Think."}, USER]),
        (
            [{"role": "system", "content": "Be brief."}, USER],
            [{"role": "system", "content": "Be brief.\n\nThink."}, USER],
        ),
        (
            [{"role": "developer", "content": "Be brief.", "name": "boss"}, USER],
            [{"role": "developer", "content": "Be brief.\n\nThink.", "name": "boss"}, USER],
        ),
        (
            [{"role": "system", "content": ""}, USER],
            [{"role": "system", "content": "Think."}, USER],
        ),
        (
            [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, USER],
            [
                {
                    "role": "system",
                    "content": [
                        {"type": "text", "text": "Be brief."},
                        {"type": "text", "text": "Think."},
                    ],
                },
                USER,
            ],
        ),
        (
            [USER, {"role": "system", "content": "Be brief."}],
            [
                {"role": "system", "content": "Think."},
                USER,
                {"role": "system", "content": "Be brief."},
            ],
        ),
    ],
)
def test_a_suffix(messages: list[dict[str, Any]], changed: list[dict[str, Any]]) -> None:
    before = [{**message} for message in messages]
    assert with_suffix(messages, "Think.") == changed
    assert messages == before


def test_a_variant_without_keys_changes_nothing() -> None:
    before = request(temperature=0.3, tools=[])
    assert asked(before, VariantSettings(policy="p")) == before


def test_its_sampling_wins_and_the_rest_stays() -> None:
    variant = VariantSettings(policy="p", temperature=1.2, top_k=5, model="lora")
    changed = asked(request(temperature=0.3, max_tokens=9), variant)
    assert changed.sampling == {"temperature": 1.2, "top_k": 5, "max_tokens": 9}
    assert (changed.upstream_model, changed.seed, changed.messages) == ("lora", 7, [USER])


def test_a_client_that_wants_the_likeliest_answer_keeps_its_sampling() -> None:
    variant = VariantSettings(policy="p", temperature=1.2, model="lora", system_suffix="Think.")
    changed = asked(request(temperature=0), variant)
    assert changed.sampling == {"temperature": 0}
    assert changed.greedy
    assert changed.upstream_model == "lora"
    assert changed.messages[0] == {"role": "system", "content": "Think."}
