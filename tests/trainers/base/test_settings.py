from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from trainers.base.errors import SettingsError
from trainers.base.settings import Settings, load_settings, shipped
from trainers.demo.settings import WorldSettings
from trainers.evaluation.settings import EvaluateSettings
from trainers.export.settings import ExportSettings
from trainers.reward.settings import RewardSettings
from trainers.sft.settings import SftSettings


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (SftSettings, "demo-sft.yaml"),
        (SftSettings, "qwen-sft.yaml"),
        (ExportSettings, "demo-export.yaml"),
        (RewardSettings, "demo-reward.yaml"),
        (RewardSettings, "qwen-reward.yaml"),
        (EvaluateSettings, "demo-evaluate.yaml"),
        (WorldSettings, "demo-world.yaml"),
    ],
)
def test_shipped_files_are_valid(kind: type[Settings], name: str) -> None:
    assert isinstance(load_settings(kind, shipped(name)), kind)


def test_overrides_are_yaml_and_win() -> None:
    settings = load_settings(
        SftSettings, shipped("demo-sft.yaml"), ["epochs=0.5", "max_steps=null", "model=a=b"]
    )
    assert (settings.epochs, settings.max_steps, settings.model) == (0.5, None, "a=b")


def test_settings_are_frozen() -> None:
    settings = WorldSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=1", "demo-sft.yaml: epoch: Extra inputs are not permitted"),
        ("epochs=many", "demo-sft.yaml: epochs: Input should be a valid number"),
        ("batch_size=0", "demo-sft.yaml: batch_size: Input should be greater than 0"),
        ("epochs", "--set epochs: expected key=value"),
        ("epochs=[", "--set epochs: not a YAML value"),
    ],
)
def test_a_bad_key_is_named(override: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(SftSettings, shipped("demo-sft.yaml"), [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("prompts=null", "demo-evaluate.yaml: prompts: needed to sample from the policy"),
        ("n_values=[128]", "demo-evaluate.yaml: n_values: at most samples, 64"),
    ],
)
def test_sampling_settings_must_agree(override: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(EvaluateSettings, shipped("demo-evaluate.yaml"), [override])
    assert str(error.value).endswith(message)
    changes = [override, "policy=null"]
    assert load_settings(EvaluateSettings, shipped("demo-evaluate.yaml"), changes).policy is None


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "bad.yaml: not YAML"), ("- a", "bad.yaml: a mapping of settings is expected")],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_settings(SftSettings, path)
    with pytest.raises(SettingsError, match=r"none\.yaml: No such file"):
        load_settings(SftSettings, tmp_path / "none.yaml")
