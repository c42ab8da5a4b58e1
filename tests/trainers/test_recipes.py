"""Every settings file that `bon-train init` writes loads, and says what each setting is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from bon_common.settings.yaml import read_yaml
from trainers.base.settings import load_settings, shipped
from trainers.cli import main
from trainers.commands import COMMANDS
from trainers.recipes import recipes, text_of_recipe

USERS = {"sft", "reward", "dpo", "ppo", "grpo", "iterate", "prepare", "collect", "label"}


def test_each_command_of_a_user_has_a_recipe() -> None:
    assert {*USERS, "evaluate", "export"} <= set(recipes())
    assert {*recipes().values()} <= set(COMMANDS)


@pytest.mark.parametrize("name", recipes())
def test_what_is_written_means_what_ships(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    assert main(["init", name, "--output", str(path)]) == 0
    command = recipes()[name]
    kind = COMMANDS[command].settings
    assert load_settings(kind, path) == load_settings(kind, shipped(f"qwen-{name}.yaml"))
    assert f"next:  bon-train {command} --config {path}" in capsys.readouterr().out
    prose = re.findall(r"^ *# \S.*$", path.read_text(), re.MULTILINE)
    assert max(map(len, prose)) <= 101


def explanations(kind: Any) -> set[str]:
    """The first words of each setting's explanation, of a class and the sections in it."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        own = {" ".join((f.description or "").split()[:4]) for f in kind.model_fields.values()}
        return own - {""}
    return set()


@pytest.mark.parametrize("name", recipes())
def test_each_setting_is_explained(name: str) -> None:
    kind = COMMANDS[recipes()[name]].settings
    text = re.sub(r"\s*\n\s*#*\s*# ", " ", text_of_recipe(name))
    for words in explanations(kind):
        assert words.replace("``", "`") in text
    for key in kind.model_fields:
        assert re.search(rf"^#?{key}:", text_of_recipe(name), re.MULTILINE)


@pytest.mark.parametrize("name", recipes())
def test_what_is_commented_out_may_be_taken_as_it_is(name: str) -> None:
    """Without their #, the settings are YAML, and their keys are known."""
    body = text_of_recipe(name).partition("\n\n")[2]
    bare = "\n".join(re.sub(r"^( *)#(?=\S|  |$)", r"\1", line) for line in body.splitlines())
    values = read_yaml(bare)
    assert isinstance(values, dict)
    kind = COMMANDS[recipes()[name]].settings
    assert set(values) == set(kind.model_fields)
    for key, field in kind.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(default, str | int | float) and key not in shipped_values(name):
            assert values[key] == default


def shipped_values(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(shipped(f"qwen-{name}.yaml").read_text())
    return values


def test_a_section_that_is_left_out_can_be_switched_on(tmp_path: Path) -> None:
    text = text_of_recipe("export")
    path = tmp_path / "export.yaml"
    begin = text.index("#generation:")
    path.write_text(text[:begin] + re.sub(r"(?m)^#(?=\S|  )", "", text[begin:]))
    kind = COMMANDS["export"].settings
    assert load_settings(kind, path) == load_settings(kind, shipped("qwen-export.yaml"))


def test_without_a_name_the_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^  {name} +\w", out, re.MULTILINE) for name in recipes())


def test_a_file_that_exists_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sft.yaml").write_text("mine")
    assert main(["init", "sft"]) == 2
    error = "bon-train: sft.yaml: already there; --overwrite replaces it\n"
    assert capsys.readouterr().err == error
    assert Path("sft.yaml").read_text() == "mine"
    assert main(["init", "sft", "--overwrite"]) == 0
    assert Path("sft.yaml").read_text() == text_of_recipe("sft")


def test_model_and_folder_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "dpo.yaml"
    mine = ["--model", "/models/mine", "--runs", "runs/shop/"]
    assert main(["init", "dpo", "--output", str(path), *mine]) == 0
    values = yaml.safe_load(path.read_text())
    assert (values["model"], values["train"], values["output"]) == (
        "/models/mine", "runs/shop/data/train.jsonl", "runs/shop/dpo",
    )  # fmt: skip
    assert "qwen" not in path.read_text().lower()
    assert path.read_text().startswith("# DPO of mine with LoRA")


@pytest.mark.parametrize("name", recipes())
def test_what_the_recipe_sets_comes_first(name: str) -> None:
    keys = re.findall(r"^#?(\w+):", text_of_recipe(name).partition("\n\n")[2], re.MULTILINE)
    mine = shipped_values(name)
    assert set(keys[: len(mine)]) == set(mine)


@pytest.mark.parametrize("name", ["my runs: new", "runs #1", "", "7", "[a", "a, b", "x\ny"])
@pytest.mark.parametrize("option", ["--model", "--runs"])
def test_a_name_that_yaml_reads_otherwise_is_refused(
    option: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`train: runs #1/data` would train on `runs`."""
    path = tmp_path / "dpo.yaml"
    assert main(["init", "dpo", "--output", str(path), option, name]) == 2
    error = f"bon-train: {option}: YAML reads {name!r} as something else"
    assert capsys.readouterr().err.startswith(error)
    assert not path.exists()


def test_an_unknown_recipe_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "sfd"]) == 2
    assert "sfd: no such recipe; there are collect, label" in capsys.readouterr().err


def test_every_kind_of_a_union_is_named() -> None:
    labeller = COMMANDS["label"].settings.model_fields["labeller"].annotation
    text = text_of_recipe("label")
    for kind in get_args(labeller):
        assert get_args(kind.model_fields["type"].annotation)[0] in text
