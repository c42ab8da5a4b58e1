"""What ``--embedded`` compares; that it runs is tested as a process in test_cli."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.ask.demo import (
    PROMPTS,
    compare_tree,
    gateway_tree,
    of_run,
    parse_tuned,
    shipped,
)
from bon_gateway.compare.prompts import read_prompts
from bon_gateway.compare.settings import CompareSettings
from bon_gateway.settings.tree import Settings


def model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_the_shipped_models() -> None:
    settings = CompareSettings.model_validate(compare_tree(shipped({})))
    assert list(settings.arms) == ["base-1", "base-2", "base-4", "base-8"]
    assert settings.prompts.file == PROMPTS
    assert len(read_prompts(settings.prompts, 0)) == 60
    Settings.model_validate(gateway_tree(shipped({})))


def test_the_models_of_a_run(tmp_path: Path) -> None:
    for name in ("policy", "reward", "dpo", "other"):
        model(tmp_path / name)
    (tmp_path / "figures.json").write_text(json.dumps({"seconds": {"pairs": 1, "dpo": 2}}))
    models = of_run(tmp_path, {"mine": tmp_path / "other"})
    settings = CompareSettings.model_validate(compare_tree(models))
    assert list(settings.arms) == [
        "base-1", "base-2", "base-4", "base-8", "base-16",
        "dpo", "dpo-best-of-4", "mine", "mine-best-of-4",
    ]  # fmt: skip
    assert settings.training["dpo"].steps == ("pairs", "dpo")
    assert settings.training["mine"].records == (tmp_path / "other",)
    assert settings.quality.primary == "gold"
    gateway = Settings.model_validate(gateway_tree(models))
    assert list(gateway.models) == ["demo", "dpo", "mine"]


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    model(tmp_path / "policy")
    with pytest.raises(SettingsError, match="reward is no folder of a model"):
        of_run(tmp_path, {})


def test_tuned_policies_are_named() -> None:
    assert parse_tuned(["a=b=c", "d=e"]) == {"a": Path("b=c"), "d": Path("e")}
    for pair in ("a", "=b", "a="):
        with pytest.raises(SettingsError, match="expected NAME=FOLDER"):
            parse_tuned([pair])
