"""What can be said of the Dockerfile without building it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts.image_build import IMAGES
from scripts.image_requirements import requirements

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_hadolint_is_content() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint is not None
    done = subprocess.run(
        [hadolint, "--config", ".hadolint.yaml", "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_stage_for_every_target() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
    assert set(IMAGES) <= set(stages)


def test_stages_begin_from_a_build_argument_or_another_stage() -> None:
    begun = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", DOCKERFILE, re.MULTILINE)
    stages = {name for _, name in begun}
    assert {base for base, _ in begun} - stages == {"${PYTHON_IMAGE}", "${CUDA_IMAGE}"}


def test_whatever_is_copied_passes_the_ignore_file() -> None:
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {name for line in copied for name in line.split()} == kept
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.parametrize("extra", ["embedded", "reward-server", "trainers"])
def test_requirements_hold_what_an_extra_adds(extra: str) -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    own = set(requirements(pyproject, []))
    added = set(pyproject["project"]["optional-dependencies"][extra])
    assert own == set(pyproject["project"]["dependencies"])
    assert set(requirements(pyproject, [extra])) == own | added


def test_requirements_of_an_unknown_extra_are_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/image_requirements.py", "nothing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "nothing" in done.stderr
