"""The package under ``examples/`` is installed, and what it offers is served."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.ports import free_port
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ("It is 4.\n4", "Five, I think.\n5", "Two and two.\n4", "Thank you!\n6")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, as pip installs it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "examples" / "plugin", source, dirs_exist_ok=True)
    alone = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", "-q", *alone, "--target", str(target)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def candidate(call: Call) -> Step:
    index = int(call.body.get("seed", 0))
    return Step(text=TEXTS[index], tokens=9 - index)


async def test_it_is_served(installed: Path, tmp_path: Path) -> None:
    async with FakeUpstream(candidate) as upstream:
        config = (ROOT / "examples" / "plugin" / "gateway.yaml").read_text()
        config = config.replace('"http://127.0.0.1:8001"]', f'"{upstream.url}"], fan_out: separate')
        (tmp_path / "gateway.yaml").write_text(config.replace("n: 8", "n: 4"))
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bon_gateway", "serve", "--port", str(port)),
            *("--config", str(tmp_path / "gateway.yaml")),
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{installed}"},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await eventually(lambda: is_ready(url), 30, "the gateway is ready")
            async with httpx.AsyncClient(base_url=url) as client:
                voted, polite, cheap = [
                    await ask(client, name) for name in ("voted", "polite", "cheapest")
                ]
        finally:
            process.terminate()
            await process.wait()
    # Two of the four end in 4; the third asked for nothing but politeness; the last costs least.
    assert (voted["strategy"], voted["winner"], voted["reward"]) == ("last_line", 0, 0.0)
    assert (polite["strategy"], polite["winner"], polite["reward"]) == ("best_of_n", 3, 1.0)
    assert (cheap["strategy"], cheap["winner"], cheap["reward"]) == ("hook", 3, None)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


async def ask(client: httpx.AsyncClient, model: str) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "2 + 2"}], "seed": 0}
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    bon: dict[str, Any] = answer.json()["bon"]
    return bon
