"""The arithmetic of sizes, and its table in the documentation."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", name="sizing")
def _sizing() -> ModuleType:
    path = ROOT / "scripts" / "sizing.py"
    spec = importlib.util.spec_from_file_location("sizing", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up.
    sys.modules["sizing"] = module
    spec.loader.exec_module(module)
    return module


def test_a_plan_by_hand(sizing: ModuleType) -> None:
    measured = sizing.Measured("here", 1000, 2000, 1.0, 0.5)
    # 2 requests of 4 answers of 100 tokens: 800 written, of 500 that a generator is planned with;
    # 2 * (50 + 400) read, of 1000; 2 ms of CPU time a second, of which half is planned with.
    found = sizing.plan(sizing.Load(2, 4, 50, 100), measured)
    assert found == sizing.Plan(generators=2, reward_servers=1, gateway_cores=0.004)


def test_a_single_sample_is_not_scored(sizing: ModuleType) -> None:
    measured = sizing.Measured("here", 1000, 2000, 1.0, 0.5)
    assert sizing.plan(sizing.Load(100, 1, 50, 100), measured).reward_servers == 0


def test_the_page_is_up_to_date(sizing: ModuleType) -> None:
    page = sizing.PAGE.read_text(encoding="utf-8")
    assert page == sizing.placed(page, sizing.read_measured()), "run scripts/sizing.py --write"


def test_the_command(sizing: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert sizing.main(["--rate", "50", "--n", "8", "--answer", "256"]) == 0
    assert "| 50 | 8 | 256 | 13 | 19 | 0.03 |" in capsys.readouterr().out
