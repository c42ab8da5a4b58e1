"""The settings files for the small real model are read as they are."""

from __future__ import annotations

import pytest
import yaml

from trainers.base.settings import shipped
from trainers.cli import main

NAMES = ("collect", "label", "reward")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_read(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = shipped(f"real-{name}.yaml")
    assert main([name, "--config", str(path), "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(written) <= set(printed)


def test_each_reads_what_the_one_before_writes() -> None:
    collect, label, reward = (
        yaml.safe_load(shipped(f"real-{name}.yaml").read_text(encoding="utf-8")) for name in NAMES
    )
    assert label["input"] == collect["output"]
    assert reward["train"] == label["output"]
    assert reward["model"] == collect["policy"]
