"""Who may import whom, and that what should be light stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_import_contracts_hold() -> None:
    lint = run_python("-c", "from importlinter.cli import lint_imports_command as run; run()")
    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize(
    "module",
    ["bon_gateway.app", "bon_gateway.cli", "reward_server.schema", "trainers.demo.pipeline"],
)
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_gateway_imports_what_runs_models_only_to_run_one() -> None:
    rooms = ("reward_server.scoring", "bon_gateway.backends.policy.embedded.engine")
    code = f"import sys, bon_gateway.app; print([m for m in sys.modules if m.startswith({rooms})])"
    done = run_python("-c", code)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("command", ["bon_gateway.cli", "reward_server.cli", "trainers.cli"])
def test_console_script_has_its_main(command: str) -> None:
    done = run_python("-c", f"from {command} import main; assert callable(main)")
    assert done.returncode == 0, done.stderr
