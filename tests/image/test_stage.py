"""When CI's stage for images passes, fails, or has nothing to say. Its programs are stand-ins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.image_build import version

ROOT = Path(__file__).parents[2]

BUILDAH = """#!/bin/sh
for word in "$@"; do
    if [ "$word" = "$FAILING" ]; then echo "this does not work" >&2; exit 1; fi
done
# A storage that lacks the stand-in.
if [ "$FAILING" = mmdebstrap ]; then exit 0; fi
echo found
"""
MMDEBSTRAP = """#!/bin/sh
if [ "$FAILING" = mmdebstrap ]; then echo "no mirror" >&2; exit 1; fi
for last in "$@"; do :; done
touch "$last"
"""


def run_stage(folder: Path, *, failing: str = "", programs: bool = True) -> tuple[int, str]:
    """With no program of the machine's own on PATH."""
    binaries = folder / "bin"
    binaries.mkdir()
    if programs:
        for name, text in {"buildah": BUILDAH, "mmdebstrap": MMDEBSTRAP, "bwrap": BUILDAH}.items():
            (binaries / name).write_text(text)
            (binaries / name).chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "scripts.image_check", "--storage", folder / "storage"],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": str(binaries),
            "FAILING": failing,
            "XDG_CACHE_HOME": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root builds images")


def test_where_buildah_cannot_be_had_it_says_so_and_passes(tmp_path: Path) -> None:
    status, said = run_stage(tmp_path, programs=False)
    assert status == 0, said
    assert "the images are neither built nor tested on this machine" in said


@as_root
def test_where_buildah_cannot_run_it_says_so_and_passes(tmp_path: Path) -> None:
    status, said = run_stage(tmp_path, failing="run")
    assert status == 0, said
    assert "buildah runs no container here: buildah run: this does not work" in said


@as_root
def test_a_build_that_fails_is_a_failure(tmp_path: Path) -> None:
    status, said = run_stage(tmp_path, failing="--target=gateway")
    assert status == 1, said
    assert "this does not work" in said
    assert f"bon-gateway:{version()} was not built" in said


@as_root
def test_a_stand_in_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    status, said = run_stage(tmp_path, failing="mmdebstrap")
    assert status == 1, said
    assert "no mirror" in said
