from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from trainers.base.errors import SettingsError
from trainers.base.settings import LoraSettings, Settings, load_settings, shipped
from trainers.cli import main
from trainers.demo.settings import WorldSettings
from trainers.evaluation.settings import EvaluateSettings
from trainers.export.settings import ExportSettings
from trainers.reward.settings import RewardTrainSettings
from trainers.sft.settings import SftSettings


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (SftSettings, "demo-sft.yaml"),
        (SftSettings, "qwen-sft.yaml"),
        (ExportSettings, "demo-export.yaml"),
        (RewardTrainSettings, "demo-reward.yaml"),
        (RewardTrainSettings, "qwen-reward.yaml"),
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
        ("epoch=1", "--set: epoch: unknown key; did you mean 'epochs'?"),
        ("epochs=many", "--set: epochs: should be a number, not 'many'"),
        ("learning_rate=.inf", "--set: learning_rate: should be a finite number, not inf"),
        ("batch_size=0", "--set: batch_size: should be greater than 0, not 0"),
        ("epochs", "--set: epochs: expected KEY=VALUE"),
        ("epochs=[", "--set: epochs: not YAML: line 1"),
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
        ("prompts=null", "--set: prompts: needed to sample from the policy"),
        ("n_values=[128]", "--set: n_values: at most samples, 64"),
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
    [
        ("a: [", "bad.yaml: not YAML"),
        ("seed: 1\nseed: 2", "the key 'seed' is there twice"),
        ("- a", "bad.yaml: should be a mapping"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_settings(SftSettings, path)
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read: No such file"):
        load_settings(SftSettings, tmp_path / "none.yaml")


def test_the_resulting_settings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(shipped("demo-sft.yaml"))
    assert main(["sft", "--config", config, "--set", "lora.r=3", "--print-config"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["lora"] == LoraSettings(r=3).model_dump()
    assert SftSettings.model_validate(shown).lora == LoraSettings(r=3)


def test_flags_override_the_environment_and_that_the_file() -> None:
    environ = {"BON_TRAIN__EPOCHS": "0.5", "BON_TRAIN__LORA__R": "4", "BON_VLLM_PYTHON": "x"}
    settings = load_settings(SftSettings, shipped("demo-sft.yaml"), ["epochs=2"], environ=environ)
    assert settings.epochs == 2
    assert settings.lora is not None
    assert settings.lora.r == 4
