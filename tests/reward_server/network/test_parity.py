"""Every way to compute a reward gives the same one: packed, with prompts kept, in pieces, cut into
several calls, one by one. The reference is the network by itself, one conversation at a time."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForSequenceClassification

from reward_server.errors import BatchMemoryError
from reward_server.network import attention
from reward_server.network.forward import PaddedForward
from reward_server.network.model import RewardModel
from reward_server.network.packing import Layout
from reward_server.network.sequence import Rendered
from reward_server.network.shared_prompt import SharedPromptForward, choose_forward
from tests.reward_server.network.test_shared_prompt import SHARED, alone, random_model, rewards

LIMIT = 96
TOLERANCE = 1e-4
PAD = 0
MEGABYTE = 1 << 20


def cached(model: RewardModel, capacity: int = MEGABYTE) -> SharedPromptForward:
    forward = choose_forward(model, keep_bytes=capacity)
    assert isinstance(forward, SharedPromptForward)
    return forward


@functools.cache
def llama() -> tuple[RewardModel, SharedPromptForward]:
    model = random_model("llama", {"num_key_value_heads": 2, "max_position_embeddings": LIMIT})
    return model, cached(model)


@st.composite
def candidates(draw: st.DrawFn) -> list[Rendered]:
    """N of 1 to 32 answers to one prompt, the padding id among the words; some end at the limit,
    some are empty but for the end of their turn."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    n = draw(st.integers(1, 32))
    prompt = tuple(rng.choice((PAD, *range(3, 64))) for _ in range(draw(st.integers(0, 60))))
    room = LIMIT - len(prompt)
    lengths = draw(st.lists(st.sampled_from((1, 2, 7, 20, room)), min_size=n, max_size=n))
    return [
        Rendered(
            prompt + tuple(rng.choice((PAD, *range(3, 64))) for _ in range(length)), len(prompt)
        )
        for length in lengths
    ]


def agree(model: RewardModel, expected: Sequence[float], found: Sequence[float]) -> None:
    """The same numbers, and the same winner where two are not too close to tell."""
    assert found == pytest.approx(expected, abs=TOLERANCE)
    best = expected.index(max(expected))
    others = [reward for place, reward in enumerate(expected) if place != best]
    if not others or expected[best] - max(others) > 2 * TOLERANCE:
        assert found.index(max(found)) == best


@settings(max_examples=40, deadline=None)
@given(candidates(), st.integers(30, 400))
def test_packed_in_one_call_or_several(batch: list[Rendered], budget: int) -> None:
    model, forward = llama()
    agree(model, alone(model, batch), rewards(model, forward(batch, budget)))


@settings(max_examples=25, deadline=None)
@given(candidates(), st.integers(1, 60), st.data())
def test_with_the_prompt_ahead_in_pieces_and_the_candidates_one_by_one(
    batch: list[Rendered], piece: int, data: st.DataObject
) -> None:
    model, forward = llama()
    forward.prompts.clear()
    prompt = batch[0].ids[: batch[0].prompt_tokens]
    for end in range(piece, len(prompt) + 1, piece):
        forward([], 1000, [prompt[:end]])
    order = data.draw(st.permutations(range(len(batch))))
    found = [0.0] * len(batch)
    for place in order:
        (found[place],) = rewards(model, forward([batch[place]], 1000))
    agree(model, alone(model, batch), found)


@settings(max_examples=15, deadline=None)
@given(candidates())
def test_padded_on_the_right(batch: list[Rendered]) -> None:
    model, _ = llama()
    agree(model, alone(model, batch), rewards(model, PaddedForward(model)(batch, 500)))


@pytest.mark.parametrize(("family", "changes"), SHARED)
def test_kept_prompts_in_every_family(family: str, changes: dict[str, Any]) -> None:
    model = random_model(family, changes)
    forward = cached(model)
    rng = random.Random(family)
    prompt = tuple(rng.randrange(3, 64) for _ in range(30))
    other = (*prompt[:22], 5, 6)
    batch = [
        Rendered(begin + tuple(rng.randrange(3, 64) for _ in range(4)), len(begin))
        for begin in (prompt, prompt, other, prompt)
    ]
    expected = alone(model, batch)
    forward([], 1000, [prompt])
    work = forward(batch, 1000)
    assert work.reused == 30 + 22
    assert work.tokens == 3 * 4 + 2 + 4
    assert (work.lookups, work.hits) == (2, 2)
    agree(model, expected, rewards(model, work))


def test_a_family_that_pads_on_the_left_is_read_by_its_tokens_alone() -> None:
    """The side on which a tokenizer pads says nothing here: nothing is padded by it."""
    torch.manual_seed(5)
    config = AutoConfig.for_model(
        "qwen3", vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_labels=1, pad_token_id=PAD,
        initializer_range=0.3, max_position_embeddings=LIMIT,
    )  # fmt: skip
    net = AutoModelForSequenceClassification.from_config(config).float().eval()
    model = RewardModel(net)
    rows = [[5, 9, 12], [7, 8, 20, 21, 22, 23]]
    left = torch.tensor([[PAD] * 3 + rows[0], rows[1]])
    mask = (left != PAD).long()
    with torch.inference_mode():
        expected = net(left, attention_mask=mask).logits[:, 0].tolist()
    batch = [Rendered(tuple(row), 2) for row in rows]
    agree(model, expected, rewards(model, cached(model)(batch, 100)))


def test_a_small_cache_costs_time_and_no_reward() -> None:
    model = random_model("llama", {})
    rng = random.Random(3)
    forward = cached(model, capacity=20_000)
    for _ in range(6):
        prompt = tuple(rng.randrange(3, 64) for _ in range(rng.randrange(10, 60)))
        batch = [Rendered((*prompt, 4, n), len(prompt)) for n in range(3, 9)]
        agree(model, alone(model, batch), rewards(model, forward(batch, 60)))
        assert forward.prompts.size()[1] <= 20_000


def test_what_is_out_of_memory_gives_kept_prompts_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("llama", {})
    forward = cached(model)
    prompt = tuple(range(3, 43))
    forward([], 1000, [prompt])
    assert forward.prompts.known(prompt) == 40

    def full(layout: Layout) -> list[tuple[float, ...]]:
        raise BatchMemoryError("full")

    monkeypatch.setattr(model, "outputs_of", full)
    with pytest.raises(BatchMemoryError):
        forward([Rendered((*prompt, 1), 40)], 1000)
    assert forward.prompts.known(prompt) == 0


@pytest.mark.parametrize("wrong", ["one key less", "one key more", "counted twice"])
def test_a_mask_that_is_off_by_one_is_found(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an answer sees of a kept prompt, by the check that a model passes before it serves."""
    see = attention._see

    def broken(tokens: slice, key: torch.Tensor, value: torch.Tensor, *others: Any) -> None:
        if wrong == "one key less":
            see(tokens, key[:, :, 1:], value[:, :, 1:], *others)
        elif wrong == "one key more":
            key, value = (torch.cat((t, t[:, :, -1:]), 2) for t in (key, value))
            see(tokens, key, value, *others)
        else:
            see(tokens, key, value, *others)
            see(tokens, key, value, *others)

    model = random_model("llama", {})
    monkeypatch.setattr(attention, "_see", broken)
    assert isinstance(choose_forward(model, keep_bytes=MEGABYTE), PaddedForward)
