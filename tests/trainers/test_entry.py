"""`bon-train` before it is loaded."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from trainers.__main__ import main


class InterruptingFinder:
    """Ctrl-C while the command line is imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == "trainers.cli":
            raise KeyboardInterrupt


def test_an_interrupt_while_it_is_loaded_has_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "trainers.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [InterruptingFinder(), *sys.meta_path])
    assert main() == 130
    assert capsys.readouterr().err == "bon-train: interrupted\n"
