"""The settings files for the small real model are read as they are."""

from __future__ import annotations

import pytest
import yaml

from trainers.base.settings import shipped
from trainers.cli import main

NAMES = (
    *("sft", "collect", "label", "reward", "weak-reward"),
    *("prepare", "dpo", "ppo", "grpo"),
)
COMMANDS = {"weak-reward": "reward"}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_read(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = shipped(f"real-{name}.yaml")
    assert main([COMMANDS.get(name, name), "--config", str(path), "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(written) <= set(printed)


def test_each_reads_what_the_one_before_writes() -> None:
    found = {
        name: yaml.safe_load(shipped(f"real-{name}.yaml").read_text(encoding="utf-8"))
        for name in NAMES
    }
    assert found["collect"]["policy"] == found["sft"]["output"]
    assert found["label"]["input"] == found["collect"]["output"]
    assert found["reward"]["train"] == found["label"]["output"]
    assert found["dpo"]["train"].startswith(found["prepare"]["output"])
    for name in ("ppo", "grpo"):
        assert found[name]["reward"] == found["reward"]["output"]
    tuned = ("reward", "dpo", "ppo", "grpo")
    assert {found[name]["model"] for name in tuned} == {found["sft"]["output"]}
    assert {found[name]["model"] for name in ("sft", "weak-reward")} == {
        "models/smollm2-135m-instruct"
    }
