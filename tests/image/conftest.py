"""The built images, and a network in which the pods' ports are free.

`make test` skips what needs images; `scripts/image_check.py` builds and mounts them, and runs
pytest here in a network namespace of its own.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.image.container import Container, Start
from tests.image.images import Image

STORE = "BON_IMAGE_STORE"
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get(STORE):
        reason = f"no built images: {STORE} is not set (make image-test builds and tests them)"
        for item in items:
            if item.get_closest_marker("image"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def store() -> Path:
    _raise_loopback()
    return Path(os.environ[STORE])


def _raise_loopback() -> None:
    """In a new network namespace loopback is down, and nothing else is there."""
    request = struct.pack("16sH14x", b"lo", IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, request)


@pytest.fixture(scope="session")
def gateway_image(store: Path) -> Image:
    return Image.read(store, "gateway")


@pytest.fixture(scope="session")
def reward_image(store: Path) -> Image:
    return Image.read(store, "reward-server")


@pytest.fixture(scope="session")
def trainer_image(store: Path) -> Image:
    return Image.read(store, "trainer")


@pytest.fixture(scope="session")
def new_folder(store: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a folder that the pods' user can reach, which pytest's own are not."""
    parent = Path(tempfile.mkdtemp(prefix="pods-", dir=store))
    parent.chmod(0o755)
    numbers = itertools.count()

    def make(name: str) -> Path:
        folder = parent / f"{next(numbers)}-{name}"
        folder.mkdir()
        return folder

    yield make
    shutil.rmtree(parent)


@pytest.fixture
def start(new_folder: Callable[[str], Path]) -> Iterator[Callable[[Start], Container]]:
    """Starts containers that end with the test."""
    with ExitStack() as stack:

        def begin(what: Start) -> Container:
            container = Container(what, new_folder(what.name))
            stack.callback(container.kill)
            return container

        yield begin
