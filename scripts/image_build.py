"""Builds the project's images with docker or buildah; what `make image` runs.

    python -m scripts.image_build [--tool docker|buildah] [--tag TAG] [--base IMAGE] [TARGET...]

TARGET is `gateway`, `reward-server` or `trainer`; without one all three are built. The environment
variables PIP_ARGS and TORCH_INDEX_URL become build arguments, and pip's own settings of this
machine reach the build too (`image_pip`). Standard library only.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import image_pip

ROOT = Path(__file__).resolve().parent.parent
IMAGES = {
    "gateway": "bon-gateway",
    "reward-server": "bon-reward-server",
    "trainer": "bon-trainer",
}
"""The name of each target's image."""
PASSED_ON = ("PIP_ARGS", "TORCH_INDEX_URL")

TOOLS = {
    "docker": ("docker", "build"),
    # chroot is the isolation that needs no privileges of a container; without the docker format
    # an image would lose its health check.
    "buildah": ("buildah", "bud", "--layers", "--isolation", "chroot", "--format", "docker"),
}


class BuildError(Exception):
    """An error whose message tells the user what to do."""


@dataclass(frozen=True)
class Build:
    """The settings that all targets of one run share."""

    tool: Sequence[str]
    tag: str
    arguments: Mapping[str, str]
    pip: image_pip.PipSettings
    mounts_local: bool
    """Whether the tool can mount the folders that pip's settings name."""

    def image(self, target: str) -> str:
        return f"{IMAGES[target]}:{self.tag}"

    def command(self, target: str, pip_conf: Path) -> list[str]:
        arguments = [f"--build-arg={name}={value}" for name, value in self.arguments.items()]
        mounts = [f"--volume={path}:{path}:ro" for path in self.pip.local_paths]
        return [
            *self.tool,
            f"--target={target}",
            f"--tag={self.image(target)}",
            f"--secret=id=pip.conf,src={pip_conf}",
            *arguments,
            *(mounts if self.mounts_local else ()),
            ".",
        ]

    def run(self, targets: Sequence[str]) -> None:
        """Raises BuildError."""
        with tempfile.TemporaryDirectory(prefix="bon-gateway-image-") as folder:
            pip_conf = Path(folder) / "pip.conf"
            pip_conf.write_text(self.pip.text)
            for target in targets:
                say(f"building {self.image(target)}")
                try:
                    subprocess.run(
                        self.command(target, pip_conf),
                        check=True,
                        cwd=ROOT,
                        stdin=subprocess.DEVNULL,
                    )
                except (subprocess.CalledProcessError, OSError) as error:
                    raise BuildError(f"{self.image(target)} was not built") from error


def say(message: str) -> None:
    print(f"image: {message}", file=sys.stderr, flush=True)


def version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def revision() -> str:
    """The commit, if this is a git tree."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip()


def build_arguments(environ: Mapping[str, str], base: str | None) -> dict[str, str]:
    """The build arguments that are set, by name."""
    arguments = {name: environ[name] for name in PASSED_ON if environ.get(name)}
    if base is not None:
        arguments["PYTHON_IMAGE"] = base
    return arguments | {"VERSION": version(), "REVISION": revision()}


def docker_answers() -> bool:
    """Whether docker's daemon answers: the client alone builds nothing."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "version"], capture_output=True, check=False)
    return asked.returncode == 0


def find_tool() -> str:
    """Raises BuildError."""
    if docker_answers():
        return "docker"
    if shutil.which("buildah") is not None:
        return "buildah"
    raise BuildError("neither a running docker nor buildah is there to build with")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(prog="image_build", description="Build the images.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(IMAGES))
    parser.add_argument("--tool", choices=list(TOOLS), help="default: docker if it runs")
    parser.add_argument("--tag", default=version(), help="default: the project's version")
    parser.add_argument("--base", metavar="IMAGE", help="in place of the python image")
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(IMAGES)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    try:
        tool = options.tool or find_tool()
        build = Build(
            tool=TOOLS[tool],
            tag=options.tag,
            arguments=build_arguments(environ, options.base),
            pip=image_pip.settings(),
            mounts_local=tool == "buildah",
        )
        say(f"with {shlex.join(build.tool)}")
        build.run(options.targets or list(IMAGES))
    except BuildError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
