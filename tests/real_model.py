"""The real language model, for tests that need one: made once, and kept in `models/`."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bon_gateway.demo_models.real.facts import FOLDER

ROOT = Path(__file__).parents[1]
PATIENCE_S = 500


def real_model() -> Path:
    """Its folder; where it cannot be had, the test is skipped, but in CI it fails."""
    reason = _made()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    return ROOT / FOLDER


@cache
def _made() -> str:
    """Why it is not there, in one line; empty if it is."""
    command = [sys.executable, "-m", "bon_gateway", "demo-models", "--real"]
    try:
        done = subprocess.run(
            [*command, "--output", str(ROOT / FOLDER)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"the real model was not there within {PATIENCE_S} s"
    return done.stderr.strip() if done.returncode else ""
