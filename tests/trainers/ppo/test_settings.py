"""Settings that cannot work are refused by name; the shipped files can be read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from trainers.base.settings import load_settings, shipped
from trainers.ppo.settings import PpoSettings


@pytest.mark.parametrize("name", ["demo-ppo.yaml", "qwen-ppo.yaml"])
def test_shipped_settings_are_valid(name: str) -> None:
    assert load_settings(PpoSettings, shipped(name)).iterations > 0


@pytest.mark.parametrize(
    ("changes", "where", "reason"),
    [
        ({"kl": {"estimator": "k4"}}, ("kl", "estimator"), "Input should be"),
        ({"kl": {"loss_estimator": "k1"}}, ("kl", "loss_estimator"), "Input should be"),
        ({"kl": {"beta": 0, "adaptive": {"target": 6}}}, ("kl",), "beta 0 would stay 0"),
        ({"dtype": "bfloat16"}, (), "set lora"),
        ({"lora": {"dropout": 0.1}}, ("lora",), "dropout must be 0"),
        ({"update": {"minibatch_size": 99}}, (), "an iteration has only 8 answers"),
        ({"sampling": {"top_k": 5}}, ("sampling", "top_k"), "Extra inputs"),
        ({"generation": {"type": "vllm"}}, ("generation", "vllm", "url"), "Field required"),
    ],
)
def test_what_cannot_work_is_refused(
    values: dict[str, Any], changes: dict[str, Any], where: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        PpoSettings.model_validate(values | changes)
    error = caught.value.errors()[0]
    assert error["loc"] == where
    assert reason in error["msg"]
