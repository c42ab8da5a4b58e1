"""Makes a stand-in for the python image out of Debian's packages, where no registry is reached.

Debian's own Python is installed at another place than the python image's, and is a little older;
what the Dockerfile asks of its base (a `python3` with `venv`) both have. Making it takes a minute
or two, so the archive is kept in the user's cache for a month.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from scripts.image_build import say

SUITE = "bookworm"
KEEP_S = 30 * 86400
ARGUMENTS = (
    "--variant=minbase",
    "--include=python3,python3-venv,ca-certificates",
    # Nothing reads them, and an archive that a power failure spoils is made again.
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=force-unsafe-io",
)
SCRATCH = Path("/dev/shm")  # noqa: S108 - mmdebstrap makes a folder of its own there
SCRATCH_BYTES = 1_000_000_000
"""Memory that unpacking it there may take; it halves the time."""


class BaseError(Exception):
    """The stand-in could not be made."""


def cache_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "bon-gateway"


def stand_in_base() -> Path:
    """The archive, out of the cache if it is there and not old. Raises BaseError."""
    key = hashlib.sha256(" ".join((SUITE, *ARGUMENTS)).encode()).hexdigest()[:12]
    archive = cache_folder() / f"python-stand-in-{SUITE}-{key}.tar"
    if archive.exists() and time.time() - archive.stat().st_mtime < KEEP_S:
        return archive
    say(f"making a stand-in for the python image from Debian {SUITE}")
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(f".{os.getpid()}.tar")
    environment = dict(os.environ)
    if SCRATCH.is_dir() and shutil.disk_usage(SCRATCH).free > SCRATCH_BYTES:
        environment["TMPDIR"] = str(SCRATCH)
    try:
        made = subprocess.run(
            ["mmdebstrap", *ARGUMENTS, SUITE, partial],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise BaseError(f"no stand-in for the python image: {made.stderr.strip()[-2000:]}")
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
    return archive
