"""Runs a built image as a container runtime under Kubernetes' "restricted" level would.

bubblewrap makes the namespaces. It is started as the container's own user, unprivileged outside as
inside, so that root's files are not this user's by way of the user namespace. What it leaves out of
a real runtime: cgroups' limits, the runtime's seccomp profile, and a network of the pod's own (all
pods share that of the tests).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.image.images import Image

POLL_S = 0.05
EXEC_TIMEOUT_S = 60
# bubblewrap's own /dev has terminals, for which it makes a second user namespace, and then no other
# process can join the container.
DEVICES = (
    "--tmpfs", "/dev", "--tmpfs", "/dev/shm",
    *(
        word
        for name in ("null", "zero", "full", "random", "urandom")
        for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")
    ),
    "--symlink", "/proc/self/fd", "/dev/fd", "--remount-ro", "/dev",
)  # fmt: skip


@dataclass(frozen=True)
class Mount:
    """A volume in a container; without a source an empty one, in memory."""

    target: str
    source: Path | None = None
    read_only: bool = False


@dataclass(frozen=True)
class Start:
    """What to run, and how."""

    image: Image
    name: str
    command: Sequence[str] = ()
    """In place of the image's entrypoint."""
    args: Sequence[str] | None = None
    """In place of the image's command, which a command of one's own takes away too."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside, and over, the image's."""
    mounts: Sequence[Mount] = (Mount("/tmp"),)
    hosts: Sequence[str] = ()
    """Names that lead to loopback."""
    working_folder: str | None = None
    user: tuple[int, int] | None = None
    """In place of the image's."""

    @property
    def argv(self) -> list[str]:
        own = [] if self.command else self.image.command
        return [
            *(self.command or self.image.entrypoint),
            *(own if self.args is None else self.args),
        ]

    @property
    def whole_environment(self) -> dict[str, str]:
        return {**self.image.environment, "HOSTNAME": self.name, **self.environment}


class Container:
    """One running container: its process is the first of its PID namespace, as a pod's is."""

    def __init__(self, start: Start, folder: Path) -> None:
        """``folder`` takes the log and the hosts file; the container's user must reach it."""
        self._start = start
        self._user, self._group = start.user or start.image.user
        self._log = folder / "log"
        hosts = folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {start.name} {' '.join(start.hosts)}\n")
        mounts = [*start.mounts, Mount("/etc/hosts", hosts, read_only=True)]
        for mount in mounts:
            _make_mount_point(start.image.rootfs, mount)
        reading, writing = os.pipe()
        with self._log.open("wb") as log, os.fdopen(reading) as information:
            self._process = subprocess.Popen(
                self._command(mounts, writing),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self._user,
                group=self._group,
                extra_groups=[],
                pass_fds=[writing],
                start_new_session=True,
            )
            os.close(writing)
            told = information.read()
        if not told:
            raise RuntimeError(f"bubblewrap did not start {start.name}: {self.log}")
        self.pid: int = json.loads(told)["child-pid"]
        """Outside; inside it is 1."""

    def _command(self, mounts: Sequence[Mount], information: int) -> list[str]:
        start = self._start
        command = [
            "bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
            "--uid", str(self._user), "--gid", str(self._group), "--cap-drop", "ALL",
            "--hostname", start.name, "--as-pid-1", "--die-with-parent",
            "--info-fd", str(information),
            "--ro-bind", str(start.image.rootfs), "/", "--proc", "/proc", *DEVICES,
        ]  # fmt: skip
        for mount in mounts:
            if mount.source is None:
                command += ["--tmpfs", mount.target]
            else:
                kind = "--ro-bind" if mount.read_only else "--bind"
                command += [kind, str(mount.source), mount.target]
        folder = start.working_folder or start.image.config.get("WorkingDir") or "/"
        command += ["--chdir", folder, "--clearenv"]
        for name, value in start.whole_environment.items():
            command += ["--setenv", name, value]
        return [*command, "--", *start.argv]

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int:
        """The exit code. Raises TimeoutExpired."""
        return self._process.wait(timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """To the container's first process."""
        if self.exit_code is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait()

    def run(
        self, command: Sequence[str], timeout_s: float = EXEC_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Another process in the container, as `kubectl exec` and hooks start one."""
        enter = [
            shutil.which("nsenter") or "nsenter", "--target", str(self.pid),
            "--user", "--preserve-credentials", "--mount", "--pid", "--ipc", "--uts", "--wd=/",
        ]  # fmt: skip
        return subprocess.run(
            [*enter, "--", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            user=self._user,
            group=self._group,
            extra_groups=[],
            env=self._start.whole_environment,
        )


def _make_mount_point(rootfs: Path, mount: Mount) -> None:
    """As a runtime does, which has the image's file system writable to itself."""
    place = rootfs / mount.target.lstrip("/")
    if mount.source is not None and mount.source.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    else:
        place.mkdir(parents=True, exist_ok=True)
