"""The policy that is trained: no dropout, adapters where they are asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainers.base.errors import ModelError
from trainers.ppo.models import build
from trainers.ppo.policy import load_policy
from trainers.ppo.settings import PpoSettings


def test_dropout_is_off(settings: PpoSettings) -> None:
    parts = build(settings)
    assert not parts.policy.training
    assert not any(module.training for module in parts.value.modules())


def test_a_layer_that_is_not_there_is_named(values: dict[str, Any]) -> None:
    settings = PpoSettings.model_validate(values | {"lora": {"target_modules": ["nothing"]}})
    with pytest.raises(ModelError, match=r"lora\.target_modules: .*nothing"):
        load_policy(settings, torch.device("cpu"))
