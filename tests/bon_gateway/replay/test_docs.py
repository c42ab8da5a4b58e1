"""docs/replay.md: its example is valid, and its commands are read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from bon_gateway import cli
from bon_gateway.replay.settings import ReplaySettings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "replay.md").read_text(encoding="utf-8")
EXAMPLE = PAGE.split("```yaml\n# replay.yaml\n")[1].split("```")[0]


def test_the_example_is_valid() -> None:
    tree = {"pools": ["logs"], **yaml.safe_load(EXAMPLE)}
    assert ReplaySettings.model_validate(tree).strategies["cut"].drawn == 16


def test_its_commands_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "replay.yaml").write_text(EXAMPLE)
    commands = re.findall(r"^bon-gateway (replay .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert cli.main([*shlex.split(command), "--print-config"]) == 0
    assert "first_k n=14" in capsys.readouterr().out


def test_its_defaults_are_those_of_the_settings() -> None:
    tree = yaml.safe_load(EXAMPLE)
    for name in ("permutations", "token_ms", "reward_ms"):
        assert tree[name] == ReplaySettings.model_fields[name].default
    assert f"`{ReplaySettings.model_fields['output'].default}`" in PAGE


def test_the_strategies_that_were_measured_are_those_of_the_table() -> None:
    """Every strategy of the table in docs/strategies.md, with the values that the table names."""
    docs = Path(__file__).resolve().parents[3] / "docs"
    file = docs / "strategies" / "replay.yaml"
    told = (docs / "strategies.md").read_text(encoding="utf-8")
    assert f"--config {file.relative_to(docs.parent)} --n 16" in told
    assert f"--config {file.relative_to(docs.parent)} --n 16" in PAGE
    tree = {"pools": ["logs"], **yaml.safe_load(file.read_text(encoding="utf-8"))}
    settings = ReplaySettings.model_validate(tree)
    table = told.split("## Measured")[1].split("In short:")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert len(settings.strategies) == len(rows)
    for row, given in zip(rows, tree["strategies"].values(), strict=True):
        kind, *values = row.strip("*").replace("`", "").split(", ")
        assert given["type"] == kind
        named = {"n": "16", **dict(value.split(" ", 1) for value in values)}
        for key, value in named.items():
            own = given[key]["type"] if key == "signal" else given[key]
            assert own == yaml.safe_load(value)
