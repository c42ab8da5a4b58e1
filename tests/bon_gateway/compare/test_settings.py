from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import SettingsTree
from bon_gateway.cli import main
from bon_gateway.compare.prompts import read_prompts
from bon_gateway.compare.settings import CompareSettings, PromptsSettings
from bon_gateway.sections.base import PATTERNS

ARM = {"url": "http://127.0.0.1:9", "model": "m"}
GOOD: dict[str, Any] = {"arms": {"base": ARM}, "prompts": {"file": "p.jsonl"}}


def load_settings(path: Path, *overrides: tuple[str, object]) -> CompareSettings:
    tree = SettingsTree()
    tree.read(path)
    tree.override(("--set", key, value) for key, value in overrides)
    return tree.checked(CompareSettings, PATTERNS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"armz": {}}, "armz: unknown key; did you mean 'arms'?"),
        ({"arms": {"base": {**ARM, "modle": "x"}}}, "arms.base.modle: unknown key; did you mean"),
        ({"arms": {"base": {**ARM, "bon": {"m": 1}}}}, "arms.base.bon.m: unknown key"),
        ({"arms": {}}, "arms: "),
        ({"arms": {"base": {"url": "ftp://x", "model": "m"}}}, "arms.base.url: should be an addr"),
        ({"load": {"mode": "open"}}, "load: mode open needs rates"),
        ({"load": {"concurrency": "many"}}, "load.concurrency: should be a whole number"),
        ({"quality": {"primary": "gold"}}, "quality.primary: there is no scorer 'gold'"),
        ({"quality": {"against": "x"}}, "quality.against: there is no arm 'x'"),
        ({"quality": {"scorers": {"s": {}}}}, "quality.scorers.s: needs exactly one of url,"),
        ({"quality": {"scorers": {"s": {"hook": {"function": "f"}}}}}, "hook.function: should"),
        ({"arms": {"base": {**ARM, "training": "t"}}}, "arms.base.training: there is no training"),
        ({"training": {"t": {"hours": 1}}}, "training.t: machine hours need their price: hour"),
        ({"training": {"t": {"steps": ["x"]}}}, "training.t: figures and steps go together"),
        ({"prices": {"policy": {}}}, "prices.policy: needs input_per_million and output_per_mill"),
        ({"prices": {"policy": {"hour": 1}}}, "prices.policy: hour needs input_tokens_per_s"),
        (
            {"prices": {"policy": {"hour": 1, "input_per_million": 2}}},
            "prices.policy: give prices per million tokens or by the hour, not both",
        ),
    ],
)
def test_the_first_problem_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "compare.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **change}))
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_flags_override_the_file(tmp_path: Path) -> None:
    path = tmp_path / "compare.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    settings = load_settings(path, ("load.concurrency", 9), ("prompts.limit", 3))
    assert (settings.load.concurrency, settings.prompts.limit) == (9, 3)
    assert settings.against == "base"
    with pytest.raises(SettingsError, match=r"--set: seed\.x\.y: seed is not a mapping"):
        load_settings(path, ("seed", 1), ("seed.x.y", 2))


def prompts_in(folder: Path, text: str, **settings: Any) -> list[Any]:
    path = folder / "p.jsonl"
    path.write_text(text)
    return list(read_prompts(PromptsSettings(file=path, **settings), 1))


def test_the_forms_of_a_prompt(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hi"}]
    text = '{"prompt": "hi"}\n\n{"messages": [{"role": "user", "content": "hi"}], "id": 3}\n'
    text += '{"prompt": [{"role": "user", "content": "hi"}]}\n'
    assert prompts_in(tmp_path, text) == [messages, messages, messages]


def test_a_limit_draws_by_the_seed(tmp_path: Path) -> None:
    text = "".join(f'{{"prompt": "{i}"}}\n' for i in range(50))
    drawn = prompts_in(tmp_path, text, limit=5)
    assert len(drawn) == 5
    assert drawn == prompts_in(tmp_path, text, limit=5)
    assert [p[0]["content"] for p in drawn] != ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.jsonl: holds no prompt"),
        ('{"prompt": "x"}\n{oh\n', "p.jsonl:2: not JSON"),
        ("3\n", "p.jsonl:1: should be an object"),
        ('{"prompt": []}\n', "p.jsonl:1: prompt: should be text, or a list"),
        ('{"prompt": [{"content": "x"}]}\n', "p.jsonl:1: prompt: should be text, or a list"),
    ],
)
def test_bad_prompts_are_named_by_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        prompts_in(tmp_path, text)


def test_the_resulting_settings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", "--url", "http://127.0.0.1:9", "--model", "m", "--prompts", "p.jsonl"]
    assert main([*arguments, "--set", "seed=5", "--print-config"]) == 0
    shown = CompareSettings.model_validate(yaml.safe_load(capsys.readouterr().out))
    assert (shown.seed, shown.arms["n-8"].model) == (5, "m")
