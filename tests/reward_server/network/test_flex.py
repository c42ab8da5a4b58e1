"""FlexAttention, uncompiled on the CPU, against one conversation at a time."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from reward_server.network import flex
from reward_server.network.forward import PaddedForward
from reward_server.network.model import RewardModel
from reward_server.network.sequence import Rendered
from reward_server.network.shared_prompt import SharedPromptForward, choose_forward
from tests.reward_server.network.test_parity import MEGABYTE, agree
from tests.reward_server.network.test_shared_prompt import (
    SHARED,
    alone,
    groups,
    random_model,
    rewards,
)

# Uncompiled it says that it is slow, which is why it is not used here but in tests.
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def by_flex(model: RewardModel) -> SharedPromptForward:
    forward = choose_forward(model, keep_bytes=MEGABYTE, flex=True)
    assert isinstance(forward, SharedPromptForward)
    return forward


@pytest.mark.parametrize(("family", "changes"), SHARED)
def test_packed_rewards_are_those_of_one_at_a_time(family: str, changes: dict[str, Any]) -> None:
    model = random_model(family, changes)
    forward = by_flex(model)
    batch = groups(random.Random(family), [1, 8, 1, 12, 2])
    expected = alone(model, batch)
    for budget in (1 << 20, 100):
        agree(model, expected, rewards(model, forward(batch, budget)))


def test_kept_prompts_and_pieces_of_them() -> None:
    model = random_model("llama", {"num_key_value_heads": 2})
    forward = by_flex(model)
    rng = random.Random(1)
    prompts = [tuple(rng.randrange(3, 64) for _ in range(length)) for length in (40, 33)]
    forward([], 1000, [prompts[0][:20], prompts[1]])
    forward([], 1000, [prompts[0][:36]])
    batch = [
        Rendered(prompt + tuple(rng.randrange(3, 64) for _ in range(length)), len(prompt))
        for prompt in (*prompts, (5,) * 30)
        for length in (1, 6, 3)
    ]
    work = forward(batch, 1000)
    assert work.reused == 36 + 33
    agree(model, alone(model, batch), rewards(model, work))


@pytest.mark.parametrize("name", ["group", "answer", "position"])
def test_a_rule_that_forgets_something_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = flex._marks

    def forgetful(layout: Any) -> Any:
        found = marks(layout)
        fields = {key: getattr(found, key) for key in ("group", "answer", "position")}
        return flex._Marks(**{**fields, name: torch.zeros_like(fields[name])})

    monkeypatch.setattr(flex, "_marks", forgetful)
    assert isinstance(choose_forward(random_model("llama", {}), flex=True), PaddedForward)
