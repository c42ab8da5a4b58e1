"""Packed rewards against one conversation at a time, over architectures and shapes."""

from __future__ import annotations

import dataclasses
import logging
import random
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from reward_server.network import packing
from reward_server.network.forward import PaddedForward, Work
from reward_server.network.model import RewardModel
from reward_server.network.sequence import Rendered
from reward_server.network.shared_prompt import SharedPromptForward, choose_forward
from tests.reward_server.network.test_model_families import SMALL

LONG: dict[str, Any] = {**SMALL, "max_position_embeddings": 256}
GROUPED = {"num_key_value_heads": 2}
SHARED = [
    ("llama", {}),
    ("llama", GROUPED),
    ("qwen2", GROUPED),
    ("qwen3", {**GROUPED, "head_dim": 8}),
    ("gemma", {**GROUPED, "head_dim": 8}),
    ("gemma3_text", {**GROUPED, "head_dim": 8, "sliding_window": 40}),
    ("mistral", {**GROUPED, "sliding_window": None}),
    ("mistral", {**GROUPED, "sliding_window": 40}),
]
PADDED = [
    ("gemma2", {**GROUPED, "head_dim": 8}, "softcap"),
    ("bloom", {"max_position_embeddings": None}, ""),
    ("bert", {}, "pools by itself"),
]
TOLERANCE = 2e-5


def random_model(family: str, changes: dict[str, Any], **others: Any) -> RewardModel:
    torch.manual_seed(3)
    config: Any = AutoConfig.for_model(family, **{**LONG, **changes, **others})
    net = AutoModelForSequenceClassification.from_config(config).float().eval()
    weights = {str(config.id2label[i]): 1.0 + i for i in range(config.num_labels)}
    return RewardModel(net, label_weights=weights)


def groups(rng: random.Random, sizes: list[int]) -> list[Rendered]:
    """Candidates of several prompts, mixed; answers of 1 to 24 tokens."""
    batch = []
    for n in sizes:
        prompt = tuple(rng.randrange(3, 64) for _ in range(rng.randrange(0, 30)))
        for _ in range(n):
            answer = tuple(rng.randrange(3, 64) for _ in range(rng.randrange(1, 25)))
            batch.append(Rendered(prompt + answer, len(prompt)))
    rng.shuffle(batch)
    return batch


def alone(model: RewardModel, batch: list[Rendered]) -> list[float]:
    return [model.score([sequence.ids])[0] for sequence in batch]


def rewards(model: RewardModel, work: Work) -> list[float]:
    return [
        sum(weight * value for weight, value in zip(model.weights, output, strict=True))
        for output in work.outputs
    ]


@pytest.mark.parametrize(("family", "changes"), SHARED)
def test_packed_rewards_are_those_of_one_at_a_time(family: str, changes: dict[str, Any]) -> None:
    model = random_model(family, changes)
    rng = random.Random(family)
    batch = groups(rng, [1, 8, 1, 32, 2])
    expected = alone(model, batch)
    forward = choose_forward(model)
    assert isinstance(forward, SharedPromptForward)
    for budget in (1 << 20, 100):
        work = forward(batch, budget)
        assert rewards(model, work) == pytest.approx(expected, abs=TOLERANCE)
    assert max(expected) - min(expected) > 100 * TOLERANCE, "rewards too alike to tell"


@pytest.mark.parametrize(("family", "changes", "reason"), PADDED)
def test_what_cannot_be_packed_is_padded(
    family: str, changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = random_model(family, changes)
    batch = groups(random.Random(1), [4, 2])
    expected = alone(model, batch)
    with caplog.at_level(logging.INFO):
        forward = choose_forward(model)
    assert isinstance(forward, PaddedForward)
    assert reason in caplog.text
    assert rewards(model, forward(batch, 1000)) == pytest.approx(expected, abs=TOLERANCE)


def test_several_labels_are_weighed() -> None:
    model = random_model("llama", GROUPED, num_labels=3)
    batch = groups(random.Random(2), [5, 1])
    expected = alone(model, batch)
    assert rewards(model, choose_forward(model)(batch, 1000)) == pytest.approx(
        expected, abs=TOLERANCE
    )


def test_conversations_over_the_window_are_padded() -> None:
    model = random_model("mistral", {**GROUPED, "sliding_window": 20})
    batch = groups(random.Random(3), [8, 8, 3])
    lengths = [len(sequence.ids) for sequence in batch]
    assert min(lengths) <= 20 < max(lengths)
    expected = alone(model, batch)
    assert rewards(model, choose_forward(model)(batch, 1000)) == pytest.approx(
        expected, abs=TOLERANCE
    )


def test_it_can_be_turned_off() -> None:
    model = random_model("llama", {})
    assert isinstance(choose_forward(model, share_prompt=False), PaddedForward)
    assert model.attention == "sdpa"


def test_answers_at_the_context_limit_and_of_one_token() -> None:
    model = random_model("llama", {})
    prompt = tuple(range(3, 60))
    fill = LONG["max_position_embeddings"] - len(prompt)
    batch = [Rendered(prompt + (5,) * n, len(prompt)) for n in (1, fill, 2, fill)]
    expected = alone(model, batch)
    assert rewards(model, choose_forward(model)(batch, 1 << 20)) == pytest.approx(
        expected, abs=TOLERANCE
    )


def test_bfloat16_stays_within_its_own_rounding() -> None:
    model = random_model("llama", GROUPED)
    model.net.bfloat16()
    batch = groups(random.Random(4), [6, 3])
    expected = alone(model, batch)
    spread = max(expected) - min(expected)
    work = choose_forward(model)(batch, 1000)
    assert rewards(model, work) == pytest.approx(expected, abs=0.05 * spread)


@pytest.mark.parametrize(
    "broken",
    [
        lambda span: dataclasses.replace(span, stop=span.stop - 1),
        lambda span: dataclasses.replace(span, start=span.start + 1),
        lambda span: dataclasses.replace(span, answers_stop=span.answers_stop - 1),
    ],
    ids=["an answer sees one token less", "without the first token", "the last answer sees none"],
)
def test_a_layout_that_is_off_by_one_is_found(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both by the numbers and by the check that a model passes before it is served."""
    model = random_model("llama", {})
    span = packing.Span
    monkeypatch.setattr(packing, "Span", lambda *bounds: broken(span(*bounds)))
    assert isinstance(choose_forward(model), PaddedForward)


def test_tokens_of_a_shared_prompt_are_counted_once() -> None:
    model = random_model("llama", {})
    prompt = tuple(range(3, 23))
    batch = [Rendered(prompt + (9,) * 4, len(prompt)) for _ in range(5)]
    work = choose_forward(model)(batch, 1000)
    assert (work.tokens, work.positions, work.calls) == (40, 40, 1)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("flex", [False, True])
def test_a_large_call_is_filled_up_with_tokens_that_nobody_sees(flex: bool) -> None:
    model = random_model("llama", GROUPED)
    rng = random.Random(6)
    batch = groups(rng, [7, 1, 9, 6])
    batch.append(Rendered(tuple(rng.randrange(3, 64) for _ in range(160)), 0))
    forward = choose_forward(model, flex=flex)
    work = forward(batch, 1 << 20)
    if work.tokens % packing.ROWS == 0:
        batch.append(Rendered((5, 6, 7), 0))
        work = forward(batch, 1 << 20)
    assert work.tokens >= packing.LEAST_ROUNDED
    assert work.positions == -(-work.tokens // packing.ROWS) * packing.ROWS > work.tokens
    assert rewards(model, work) == pytest.approx(alone(model, batch), abs=TOLERANCE)
