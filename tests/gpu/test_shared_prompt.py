"""Rewards on a GPU: packed by compiled FlexAttention against one conversation at a time."""

from __future__ import annotations

import random

import pytest
import torch

from reward_server.network.shared_prompt import SharedPromptForward, choose_forward
from tests.reward_server.network.test_shared_prompt import alone, groups, random_model, rewards

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(600),
    # What torch's compiler warns of concerns its own authors.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.1)])
def test_packed_rewards_are_those_of_one_at_a_time(dtype: str, tolerance: float) -> None:
    model = random_model("llama", {"num_key_value_heads": 2, "head_dim": 32})
    model.net.to("cuda", getattr(torch, dtype))
    forward = choose_forward(model, share_prompt=True, keep_bytes=1 << 20)
    assert isinstance(forward, SharedPromptForward)
    batch = groups(random.Random(1), [1, 8, 1, 12, 2])
    expected = alone(model, batch)
    spread = max(expected) - min(expected)
    for _ in range(2):  # the second finds its prompts
        assert rewards(model, forward(batch, 1 << 20)) == pytest.approx(
            expected, abs=tolerance * spread
        )
