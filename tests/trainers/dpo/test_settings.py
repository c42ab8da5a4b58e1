from __future__ import annotations

from pathlib import Path

import pytest

from trainers.base.errors import SettingsError
from trainers.base.settings import load_settings, shipped
from trainers.dpo.settings import DpoSettings


@pytest.mark.parametrize("name", ["demo-dpo.yaml", "qwen-dpo.yaml"])
def test_shipped_files_are_valid(name: str) -> None:
    assert load_settings(DpoSettings, shipped(name)).beta == 0.1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss=dpo", "loss: unknown loss dpo; there are sigmoid, hinge, ipo, exo_pair,"),
        ("label_smoothing=0.1", "label_smoothing: the loss sigmoid does not look at it; those"),
        ("loss=exo_pair", "label_smoothing: exo_pair needs one above 0"),
        ("beta=0", "beta: should be greater than 0"),
        ("label_smoothing=0.5", "label_smoothing: should be less than 0.5"),
    ],
)
def test_what_does_not_fit_is_refused(override: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(DpoSettings, shipped("demo-dpo.yaml"), [override])
    assert f": {message}" in str(error.value)


def test_one_reference_only() -> None:
    own = {"model": "m", "train": Path("t"), "output": Path("o"), "reference": "other"}
    with pytest.raises(ValueError, match="with sft_first the reference is the outcome of that"):
        DpoSettings.model_validate(own | {"sft_first": {}})
    with pytest.raises(ValueError, match="reference_revision: only with reference"):
        DpoSettings.model_validate(own | {"reference": None, "reference_revision": "v2"})
    with pytest.raises(ValueError, match="it is the policy without its adapters"):
        DpoSettings.model_validate(own | {"lora": {}, "reference_logps": "live"})
