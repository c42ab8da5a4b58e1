"""`make serve` starts on the real model, `make serve DEMO=toy` on the toy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INHERITED = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "ARGS", "DEMO")
"""What `make test` hands on to each make below it, its own ARGS among it."""


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ([], "bon-gateway serve --demo real"),
        (["DEMO=toy"], "bon-gateway serve --demo toy"),
        (["ARGS=--port 9000"], "bon-gateway serve --demo real --port 9000"),
    ],
)
def test_it_passes_the_demo(words: list[str], command: str) -> None:
    ran = subprocess.run(
        ["make", "--no-print-directory", "-n", "serve", *words],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={name: value for name, value in os.environ.items() if name not in INHERITED},
    )  # fmt: skip
    assert ran.stdout.splitlines()[-1].strip().endswith(command)
