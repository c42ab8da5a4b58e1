"""CI's stage for the images: builds them without docker, and tests them.

    python -m scripts.image_check [--storage FOLDER] [-- PYTEST_ARGUMENT...]

buildah builds every target of the Dockerfile without a container (chroot isolation), on a stand-in
for the python image that is made of Debian's packages: the base's name is all that differs from a
build at its users'. The images are then mounted, and tests/image runs them as restricted pods. With
--storage what was built is kept there, and the next run only builds what changed.

Linux and root are needed, and buildah, mmdebstrap and bubblewrap, which apt-get installs if they
are not there. Where they cannot be had or cannot run, the stage says so and ends well; a build that
fails where they run is a failure. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import image_pip
from scripts.image_base import BaseError, stand_in_base
from scripts.image_build import (
    IMAGES,
    ROOT,
    TOOLS,
    Build,
    BuildError,
    build_arguments,
    say,
    version,
)

BASE = "localhost/python-stand-in:bookworm"
PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap"}
"""The Debian package of each program."""
NEEDED_BYTES = 6_000_000_000
"""Two for the images and the layers on the way to them, twice that for what a step needs."""


class SkipError(Exception):
    """This machine cannot build images; says why."""


def require_machine() -> None:
    """Raises SkipError."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise SkipError("that takes Linux and root")
    missing = [PACKAGES[name] for name in PACKAGES if shutil.which(name) is None]
    if not missing:
        return
    say(f"installing {' '.join(missing)}")
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    try:
        for command in (["apt-get", "update", "-qq"], install):
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SkipError(f"apt-get cannot install {' '.join(missing)}") from error


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own, so that it shares nothing with what runs here."""

    folder: Path

    @property
    def prefix(self) -> list[str]:
        storage, state = str(self.folder / "storage"), str(self.folder / "state")
        return ["buildah", "--root", storage, "--runroot", state, "--storage-driver", "overlay"]

    def __call__(self, *arguments: str | Path) -> str:
        """Runs a command of buildah and returns its output."""
        done = subprocess.run(
            [*self.prefix, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BuildError(f"buildah {arguments[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def has(self, image: str) -> bool:
        return self("images", "--quiet", "--filter", f"reference={image}") != ""

    def config(self, image: str) -> dict[str, Any]:
        """As docker has it: `config`, `rootfs`, `history`."""
        inspected: dict[str, Any] = json.loads(self("inspect", "--type", "image", image))
        docker: dict[str, Any] = inspected["Docker"]
        return docker

    def size(self, image: str) -> str:
        return self("images", "--format", "{{.Size}}", image)


def commit_base(buildah: Buildah) -> None:
    """Gives the storage the stand-in, and sees that a container runs.

    Raises SkipError or BaseError.
    """
    try:
        there = buildah.has(BASE)
    except BuildError as error:
        raise SkipError(f"buildah does not run here: {error}") from error
    if not there:
        archive = stand_in_base()
        try:
            container = buildah("from", "scratch")
            buildah("add", "--quiet", container, archive, "/")
            path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            buildah("config", "--env", f"PATH={path}", container)
            buildah("commit", "--quiet", "--rm", container, BASE)
        except BuildError as error:
            raise SkipError(f"buildah makes no image here: {error}") from error
    try:
        container = buildah("from", BASE)
        buildah("run", "--isolation", "chroot", container, "--", "python3", "--version")
        buildah("rm", container)
    except BuildError as error:
        raise SkipError(f"buildah runs no container here: {error}") from error


def build_all(buildah: Buildah, tag: str) -> Build:
    """Raises BuildError."""
    build = Build(
        tool=[*buildah.prefix, *TOOLS["buildah"][1:], "--pull-never"],
        tag=tag,
        arguments=build_arguments(os.environ, BASE),
        pip=image_pip.settings(),
        mounts_local=True,
    )
    for target in IMAGES:
        started = time.monotonic()
        build.run([target])
        say(f"{build.image(target)} is built ({time.monotonic() - started:.0f} s)")
    return build


def print_sizes(buildah: Buildah, build: Build) -> None:
    print(f"uncompressed image sizes; the base has {buildah.size(BASE)}:")
    for target in IMAGES:
        print(f"  {IMAGES[target]:<20} {buildah.size(f'localhost/{build.image(target)}')}")
    sys.stdout.flush()


@contextlib.contextmanager
def mounted(buildah: Buildah, build: Build, store: Path) -> Iterator[None]:
    """STORE/TARGET/rootfs is an image's file system, STORE/TARGET/config.json its configuration."""
    containers: list[str] = []
    try:
        for target in IMAGES:
            image = f"localhost/{build.image(target)}"
            root = store / target / "rootfs"
            root.mkdir(parents=True, exist_ok=True)
            (store / target / "config.json").write_text(json.dumps(buildah.config(image)))
            containers.append(buildah("from", image))
            # Bound to a place that the pods' user can reach, which buildah's storage is not.
            subprocess.run(["mount", "--bind", buildah("mount", containers[-1]), root], check=True)
        yield
    finally:
        release(store)
        for container in containers:
            buildah("umount", container)
            buildah("rm", container)


def release(folder: Path) -> None:
    """Unmounts what is mounted under a folder, the last mounted first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4]) for line in lines]
    for point in reversed([point for point in points if point.is_relative_to(folder)]):
        subprocess.run(["umount", point], check=False)


def test(store: Path, arguments: Sequence[str]) -> int:
    """pytest's exit code. In a network of its own: the pods listen on the chart's ports."""
    return subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "pytest", "tests/image", *arguments],
        cwd=ROOT,
        env=os.environ | {"BON_IMAGE_STORE": str(store)},
        stdin=subprocess.DEVNULL,
        check=False,
    ).returncode


def check(folder: Path, pytest_arguments: Sequence[str]) -> int:
    """Raises SkipError, BaseError or BuildError."""
    if shutil.disk_usage(folder).free < NEEDED_BYTES:
        raise SkipError(f"{folder} has less than {NEEDED_BYTES // 10**9} GB free")
    buildah = Buildah(folder)
    store = folder / "store"
    store.mkdir(exist_ok=True)
    try:
        commit_base(buildah)
        build = build_all(buildah, version())
        print_sizes(buildah, build)
        with mounted(buildah, build, store):
            return test(store, pytest_arguments)
    finally:
        release(folder)


@contextlib.contextmanager
def working_folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="bon-gateway-images-") as name:
        # The pods' user has to get through.
        Path(name).chmod(0o711)
        yield Path(name)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="image_check", description="Build and test the images.")
    parser.add_argument("--storage", type=Path, metavar="FOLDER", help="keep what is built there")
    parser.add_argument("pytest", nargs="*", metavar="PYTEST_ARGUMENT")
    options = parser.parse_args(arguments)
    try:
        require_machine()
        with working_folder(options.storage) as folder:
            return check(folder, options.pytest)
    except SkipError as reason:
        say(f"the images are neither built nor tested on this machine: {reason}")
        return 0
    except (BaseError, BuildError) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
