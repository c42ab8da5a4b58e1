"""A shared prompt computed once: losses and gradients of whole conversations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from bon_gateway import demo_models
from tests.reward_server.network.test_shared_prompt import GROUPED, LONG
from tests.trainers.reward.conftest import START, MakeSettings
from tests.trainers.runtime.helpers import logs
from trainers.base.settings import LoraSettings
from trainers.reward.run import _prepare, make_trainer, train_reward
from trainers.reward.shared_prompt import (
    PADDING,
    kept_outputs,
    obstacle,
    shared_rows,
    visible,
)

WEIGHTS = {"helpful": 1.0, "short": 0.5}
FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("llama", GROUPED),
    ("qwen2", GROUPED),
    ("qwen3", {**GROUPED, "head_dim": 8}),
    ("gemma2", {**GROUPED, "head_dim": 8, "sliding_window": 40}),
    ("gemma3_text", {**GROUPED, "head_dim": 8, "sliding_window": 40}),
    ("mistral", {**GROUPED, "sliding_window": 40}),
    ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    ("gpt_neox", {}),
]
WHOLE = [
    ("bert", {}, "pools by itself"),
    ("bloom", {"max_position_embeddings": None}, "too many values"),
    ("mistral", {**GROUPED, "sliding_window": 8}, "window"),
    ("llama", {**GROUPED, "attention_dropout": 0.1}, "dropout"),
]


def network(family: str, changes: dict[str, Any]) -> Any:
    torch.manual_seed(3)
    config: Any = AutoConfig.for_model(family, **{**LONG, **changes})
    return AutoModelForSequenceClassification.from_config(config).float().eval()


def gradients(settings: Any, *, shared: bool) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one batch with records of one, two and more answers."""
    run = settings.model_copy(update={"share_prompt": shared})
    prepared = _prepare(run)
    trainer = make_trainer(run, prepared)
    batch = trainer.data_collator(prepared.data.rows[:8])
    assert ("segments" in batch) == shared
    assert (trainer._final is not None) == shared
    assert trainer.model is not None
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    found = {
        name: parameter.grad.clone()
        for name, parameter in trainer.model.named_parameters()
        if parameter.grad is not None
    }
    return loss.item(), found


@pytest.mark.parametrize(
    ("train", "changes"),
    [
        ("pairs", {}),
        ("pairs", {"center_rewards": 0.05, "lora": LoraSettings(r=4)}),
        ("margins", {"margin_weight": 0.5}),
        ("rankings", {"objective": "listwise", "center_rewards": 0.05}),
        ("rankings", {"objective": "all_pairs"}),
        ("dimensions", {"dimensions": WEIGHTS}),
        ("dimension-lists", {"objective": "listwise", "dimensions": WEIGHTS}),
    ],
)
def test_gradients_are_those_of_whole_conversations(
    settings: MakeSettings, train: str, changes: dict[str, Any]
) -> None:
    run = settings(train=train, model=demo_models.policy_path(), **changes)
    (loss, whole), (other, shared) = (gradients(run, shared=share) for share in (False, True))
    assert other == pytest.approx(loss, rel=1e-6)
    assert whole.keys() == shared.keys()
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    assert largest > 1e-3
    for name, gradient in whole.items():
        difference = float((gradient - shared[name]).abs().max())
        assert difference <= 1e-6 * max(largest, 1), name


@pytest.mark.parametrize(("family", "changes"), FAMILIES)
def test_each_architecture_gives_the_same(family: str, changes: dict[str, Any]) -> None:
    net = network(family, changes)
    assert obstacle(net) is None
    net = net.double()
    generator = torch.Generator().manual_seed(1)

    def draw(tokens: int) -> list[int]:
        return torch.randint(3, 64, (tokens,), generator=generator).tolist()

    records = []
    for prompt, lengths in ((12, (3, 9)), (7, (1, 4, 2)), (15, (6,))):
        beginning = draw(prompt)
        records.append([beginning + draw(answer) for answer in lengths])
    rows = shared_rows(records, pad=0)
    assert rows is not None
    whole = torch.stack(
        [net(torch.tensor([ids])).logits[0] for answers in records for ids in answers]
    )
    torch.sin(whole).sum().backward()
    expected = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    with kept_outputs(net.score) as found:
        mask = visible(rows.segments, torch.float64)
        net(rows.ids, attention_mask=mask, position_ids=rows.positions)
    shared = found[0].flatten(0, 1)[rows.places[rows.places >= 0]]
    # Norms and rotary embeddings are float32 in all of these, whatever the weights are.
    torch.testing.assert_close(shared, whole, rtol=0, atol=1e-6 * whole.abs().max().item())
    torch.sin(shared).sum().backward()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, parameter in net.named_parameters():
        if name in expected:
            assert float((parameter.grad - expected[name]).abs().max()) < 1e-6 * largest, name


@pytest.mark.parametrize(("family", "changes", "reason"), WHOLE)
def test_what_cannot_share_says_why(family: str, changes: dict[str, Any], reason: str) -> None:
    assert reason in (obstacle(network(family, changes)) or "")


def test_rows_that_would_cost_more_are_not_shared() -> None:
    assert shared_rows([[[1, 2, 3], [4, 5, 6]]], pad=0) is None
    long = [[1, 2], *([1, 2, *[3 + i] * 90] for i in range(8))]
    assert shared_rows([long], pad=0) is None, "eight answers of no prompt: 64 squares for 8"
    short = [[1, 2], *([1, 2, *[3 + i] * 30] for i in range(8))]
    assert shared_rows([short], pad=0) is not None, "attention costs little in a short row"


def test_an_answer_that_another_begins_with_keeps_its_last_token() -> None:
    rows = shared_rows([[[5, 6, 7], [5, 6, 7, 8]], [[5, 6, 7, 8, 9, 1], [5, 6, 7, 8, 9, 2]]], pad=0)
    assert rows is not None
    assert rows.ids[0].tolist() == [5, 6, 7, 7, 8, 0, 0]
    assert rows.positions[0].tolist() == [0, 1, 2, 2, 3, 0, 0]
    assert rows.segments[0].tolist() == [0, 0, 1, 2, 2, PADDING, PADDING]
    assert rows.places.tolist() == [[2, 4], [12, 13]]


def test_a_run_computes_fewer_tokens_and_learns_the_same(settings: MakeSettings) -> None:
    runs = [
        settings(f"share-{share}", model=demo_models.policy_path(), share_prompt=share)
        for share in (False, True)
    ]
    for run in runs:
        train_reward(run, START)
    for whole, shared in zip(*(logs(run.output) for run in runs), strict=True):
        assert shared["loss"] == pytest.approx(whole["loss"], rel=1e-4)
        assert shared["num_tokens"] < 0.8 * whole["num_tokens"]


def test_lora_dropout_is_drawn_for_each_answer(settings: MakeSettings) -> None:
    run = settings(lora=LoraSettings(r=4, dropout=0.1))
    prepared = _prepare(run)
    assert not make_trainer(run, prepared).data_collator.shared  # type: ignore[union-attr]
