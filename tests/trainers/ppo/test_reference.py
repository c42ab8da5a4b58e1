"""The reference stays where training began, whether it is a copy or the base of the adapters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from trainers.policy.logits import answer_logps
from trainers.policy.sequences import Sequences
from trainers.ppo.models import build
from trainers.ppo.policy import Reference
from trainers.ppo.settings import PpoSettings
from trainers.ppo.train import iterate

BATCH = Sequences.build([[5, 6, 7], [8]], [[30, 31], [32, 33, 34]], pad=0)


@pytest.mark.parametrize("lora", [None, {"r": 4, "target_modules": ["q_proj", "down_proj"]}])
def test_training_does_not_move_it(values: dict[str, Any], lora: dict[str, Any] | None) -> None:
    settings = PpoSettings.model_validate(values | {"lora": lora})
    parts = build(settings)
    frozen = AutoModelForCausalLM.from_pretrained(settings.model).eval()
    with torch.no_grad():
        expected = answer_logps(frozen, BATCH, 0.9)
    reference = Reference(parts.policy)
    for iteration in range(2):
        iterate(parts, settings, iteration, beta=0.1)
    assert torch.equal(reference.logps(BATCH, 0.9), expected)
    with torch.no_grad():
        moved = answer_logps(parts.policy, BATCH, 0.9)
    assert (moved - expected).abs().max() > 1e-4


def test_the_adapters_are_on_again_afterwards(values: dict[str, Any]) -> None:
    settings = PpoSettings.model_validate(values | {"lora": {"r": 4}})
    parts = build(settings)
    iterate(parts, settings, 0, beta=0.1)
    with torch.no_grad():
        before = answer_logps(parts.policy, BATCH, 1.0)
        Reference(parts.policy).logps(BATCH, 1.0)
        assert torch.equal(answer_logps(parts.policy, BATCH, 1.0), before)


def test_only_the_adapters_are_trained(values: dict[str, Any]) -> None:
    settings = PpoSettings.model_validate(values | {"lora": {"r": 4}})
    parts = build(settings)
    trained = [name for name, p in parts.policy.named_parameters() if p.requires_grad]
    assert trained
    assert all(".lora_" in name for name in trained)
