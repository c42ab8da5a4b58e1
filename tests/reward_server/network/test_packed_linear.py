"""Packed layers give what the plain ones gave."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from reward_server.network.packed_linear import PackedLinear, pack_weights
from reward_server.network.shared_prompt import SharedPromptForward, choose_forward
from tests.reward_server.network.test_shared_prompt import (
    SHARED,
    TOLERANCE,
    alone,
    groups,
    random_model,
    rewards,
)

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),
    reason="torch without oneDNN",
)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 768), (3, 5, 768), (1, 300, 768), (1, 0, 768)])
def test_a_packed_layer_gives_the_same(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(768, 800, bias=bias)
    x = torch.randn(shape)
    with torch.inference_mode():
        expected, found = plain(x), PackedLinear(plain)(x)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_only_large_plain_layers_are_packed() -> None:
    class Other(nn.Linear):
        pass

    large = nn.Linear(1024, 512)
    net = nn.Sequential(
        large, nn.Linear(512, 64), nn.Sequential(large), Other(1024, 512), nn.LayerNorm(64),
        nn.Linear(1024, 512).bfloat16(), nn.Linear(1024, 512, device="meta"),
    )  # fmt: skip
    assert pack_weights(net) == 1
    kinds = [type(module) for module in net.modules() if isinstance(module, nn.Linear)]
    assert kinds == [PackedLinear, nn.Linear, Other, nn.Linear, nn.Linear]
    shared: nn.Module = net.get_submodule("2.0")
    assert shared is net[0]
    assert large.weight.numel() * 4 > 1 << 20
    assert net[0].weight.is_meta


@pytest.mark.parametrize(("family", "changes"), SHARED)
def test_rewards_of_a_packed_network(family: str, changes: dict[str, object]) -> None:
    model = random_model(family, changes)
    batch = groups(random.Random(family), [1, 8, 3])
    expected = alone(model, batch)
    assert pack_weights(model.base, 1) == 2 * 7
    forward = choose_forward(model, keep_bytes=1 << 20)
    assert isinstance(forward, SharedPromptForward)
    assert forward.final is not None
    assert alone(model, batch) == pytest.approx(expected, abs=TOLERANCE)
    forward([], 1000, [batch[0].ids[: batch[0].prompt_tokens]])
    assert rewards(model, forward(batch, 100)) == pytest.approx(expected, abs=TOLERANCE)


def test_an_encoder_is_packed_too() -> None:
    model = random_model("bert", {})
    batch = groups(random.Random(1), [4, 2])
    expected = alone(model, batch)
    assert pack_weights(model.base, 1) > 0
    assert rewards(model, choose_forward(model)(batch, 1000)) == pytest.approx(
        expected, abs=TOLERANCE
    )
