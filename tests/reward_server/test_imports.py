"""Importing the service's light parts must stay light."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("schema", ["torch", "transformers", "pydantic", "fastapi"]),
        ("http.app", ["torch", "transformers"]),
        ("scoring.scorer", ["torch", "transformers", "fastapi"]),
        ("cli", ["torch", "transformers"]),
        ("testing", ["torch", "transformers"]),
    ],
)
def test_import_leaves_heavy_packages_alone(module: str, absent: list[str]) -> None:
    code = f"import sys, reward_server.{module}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
