"""docs/calibrate.md: its commands are read, its defaults are the settings', its fragment serves."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from bon_gateway import cli
from bon_gateway.calibrate.settings import CalibrateSettings
from bon_gateway.settings.tree import AnyStrategy

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "calibrate.md").read_text(encoding="utf-8")


def test_its_commands_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PAGE.replace("\\\n", "")
    commands = re.findall(r"^ *bon-gateway (calibrate .*)$", lines, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        assert cli.main([*shlex.split(command), "--print-config"]) == 0
    shown = capsys.readouterr().out
    assert "type: exact" in shown
    assert "function: trainers.demo.gold:gold\n  field: total" in shown


def test_its_defaults_are_those_of_the_settings() -> None:
    defaults = {name: field.default for name, field in CalibrateSettings.model_fields.items()}
    assert f"`{defaults['output']}`" in PAGE
    for name, told in (
        ("tolerance", "at most 2 % (`tolerance`)"),
        ("confidence", "95 % confidence (`confidence`)"),
        ("risk", "at most 10 % (`risk`)"),
    ):
        assert told in PAGE
        assert f"{100 * defaults[name]:g} %" in told
    assert defaults["folds"] == 5
    assert "The prompts are in five folds" in PAGE


def test_what_it_recommends_can_be_served() -> None:
    _, text = re.findall(r"^ *```yaml\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    strategy = TypeAdapter(AnyStrategy).validate_python(
        yaml.safe_load(text)["models"]["sft"]["strategy"]
    )
    assert (strategy.type, strategy.drawn) == ("weighted_vote", 32)


def test_its_settings_for_scoring_anew_are_read() -> None:
    text, _ = re.findall(r"^ *```yaml\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    settings = CalibrateSettings.model_validate(yaml.safe_load(textwrap.dedent(text)))
    assert [*settings.score_by] == ["judge", "helpful"]
    assert settings.chosen_by == "helpful"
