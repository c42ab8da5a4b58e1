"""The last layer works for the tokens that are read, and gives the rewards that it gave before."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
import torch
from torch import nn

from reward_server.network import packing, shared_prompt
from reward_server.network.final_layer import FinalLayer, find_final_layer
from reward_server.network.forward import PaddedForward
from reward_server.network.model import RewardModel
from reward_server.network.sequence import Rendered
from reward_server.network.shared_prompt import SharedPromptForward, choose_forward
from tests.reward_server.network.test_shared_prompt import (
    SHARED,
    TOLERANCE,
    alone,
    groups,
    random_model,
    rewards,
)


def shared(model: RewardModel, **options: Any) -> SharedPromptForward:
    forward = choose_forward(model, keep_bytes=1 << 20, **options)
    assert isinstance(forward, SharedPromptForward)
    return forward


def rows_of(part: nn.Module) -> list[int]:
    """How many tokens the part is given from now on, call by call."""
    seen: list[int] = []
    part.register_forward_hook(lambda _part, _inputs, output: seen.append(output.shape[1]))
    return seen


@pytest.mark.parametrize(("family", "changes"), SHARED)
def test_every_family_reads_few_tokens_in_its_last_layer(
    family: str, changes: dict[str, Any]
) -> None:
    model = random_model(family, changes)
    forward = shared(model)
    assert forward.final is not None
    net: Any = model.net
    assert forward.final.number == net.config.num_hidden_layers - 1
    assert len(forward.final.parts) == 3


def test_the_last_layer_alone_gets_the_read_tokens_alone() -> None:
    model = random_model("llama", {})
    first, last = (model.base.get_submodule(f"layers.{number}.mlp") for number in (0, 1))
    forward = shared(model)
    of_first, of_last = rows_of(first), rows_of(last)
    prompt = tuple(range(3, 33))
    forward([], 1000, [prompt])
    batch = groups(random.Random(0), [6, 1, 4])
    tokens = forward(batch, 1 << 20).tokens
    assert of_first == [30, tokens]
    # A hook of the test, set before the call's own, sees what the part itself gave.
    assert of_last == [0, 11]


def test_all_tokens_where_that_is_asked_for() -> None:
    model = random_model("llama", {"num_key_value_heads": 2})
    batch = groups(random.Random(1), [8, 3, 1])
    few, all_of_them = shared(model), shared(model, every_token=True)
    assert all_of_them.final is None
    assert rewards(model, few(batch, 200)) == pytest.approx(
        rewards(model, all_of_them(batch, 200)), abs=TOLERANCE
    )


def test_the_network_is_left_as_it_was_also_by_a_call_that_fails() -> None:
    model = random_model("llama", {})
    forward = shared(model)
    batch = groups(random.Random(2), [3])
    expected = alone(model, batch)
    net: Any = model.net
    head = net.score.weight
    weight = head.data
    head.data = weight[:, :5]
    with pytest.raises(RuntimeError):
        forward(batch, 1000)
    head.data = weight
    assert all(not module._forward_hooks and not module._forward_pre_hooks
               for module in model.net.modules())  # fmt: skip
    assert alone(model, batch) == expected


def test_a_layer_that_is_not_the_last_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("llama", {})
    found = find_final_layer(model.base)
    assert found is not None
    wrong = FinalLayer(0, (model.base.get_submodule("layers.0.mlp"),))
    monkeypatch.setattr(shared_prompt, "find_final_layer", lambda base: wrong)
    forward = shared(model)
    assert forward.final is None
    batch = groups(random.Random(3), [5, 2])
    assert rewards(model, forward(batch, 1000)) == pytest.approx(alone(model, batch), abs=TOLERANCE)


@pytest.mark.parametrize(
    ("part", "broken"),
    [
        ("Bucket", lambda b: dataclasses.replace(b, padding=torch.zeros_like(b.padding))),
        ("Bucket", lambda b: dataclasses.replace(b, sequences=b.sequences.flip(0))),
        ("Span", lambda s: dataclasses.replace(s, sequences=slice(0, s.sequences.stop - 1))),
    ],
    ids=["padding is seen", "the wrong answers", "one answer less"],
)
def test_a_mistake_in_the_layout_is_found_out(
    part: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model("llama", {})
    kind = getattr(packing, part)
    monkeypatch.setattr(packing, part, lambda *a, **named: broken(kind(*a, **named)))
    assert shared(model).final is None, "only the last layer's work uses what is broken here"


def test_a_network_without_the_usual_names_has_no_final_layer() -> None:
    model = random_model("bloom", {"max_position_embeddings": None})
    assert find_final_layer(model.base) is None
    assert isinstance(choose_forward(model), PaddedForward)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_long_answers_beside_shorter_ones(dtype: torch.dtype) -> None:
    """The kernel takes keys in blocks of 512, and a short answer's last blocks are padding."""
    model = random_model("llama", {"num_key_value_heads": 2}, max_position_embeddings=2048)
    model.net.to(dtype)
    forward = shared(model)
    assert forward.final is not None
    rng = random.Random(4)
    prompt = tuple(rng.randrange(3, 64) for _ in range(600))
    batch = [
        Rendered((*prompt, *(rng.randrange(3, 64) for _ in range(length))), len(prompt))
        for length in (1300, 500, 700, 1)
    ]
    expected = alone(model, batch)
    spread = max(expected) - min(expected)
    tolerance = TOLERANCE if dtype == torch.float32 else 0.1 * spread
    assert rewards(model, forward(batch, 1 << 20)) == pytest.approx(expected, abs=tolerance)
