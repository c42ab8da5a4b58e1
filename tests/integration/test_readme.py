"""What the README tells a newcomer to type works as it is written, but for the port."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import orjson
import pytest
import yaml

from bon_gateway.settings.tree import Settings
from tests.integration.readme import ADDRESS, blocks


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The embedded default, as ``make serve DEMO=toy`` starts it."""
    command = [sys.executable, "-m", "bon_gateway", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            found = re.search(r"http://\S+", process.stderr.readline())
            assert found is not None
            transport = httpx.HTTPTransport(retries=5)
            with httpx.Client(base_url=found[0], transport=transport, timeout=60) as client:
                while client.get("/readyz").status_code != 200:
                    assert process.poll() is None
                    time.sleep(0.05)
            yield found[0]
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_the_first_request_by_curl(address: str) -> None:
    (script,) = (block for block in blocks("") if block.startswith("curl"))
    assert ADDRESS in script
    ran = subprocess.run(
        ["bash", "-c", script.replace(ADDRESS, address).replace("curl ", "curl -sS -m 60 ", 1)],
        capture_output=True,
        check=True,
    )
    answer = orjson.loads(ran.stdout)
    assert answer["choices"][0]["message"]["content"]
    assert len(answer["bon"]["candidates"]) == 8
    rewards = [candidate["reward"] for candidate in answer["bon"]["candidates"]]
    assert answer["bon"]["reward"] == max(r for r in rewards if r is not None)


def test_the_first_request_by_openai_python(address: str) -> None:
    (script,) = blocks("python")
    assert ADDRESS in script
    ran = subprocess.run(
        [sys.executable, "-c", script.replace(ADDRESS, address)],
        capture_output=True,
        text=True,
        check=True,
    )
    text, rewards = ran.stdout.strip().splitlines()
    assert text
    assert rewards.count(",") == 7


def test_the_settings_are_settings() -> None:
    (text,) = blocks("yaml")
    settings = Settings.model_validate(yaml.safe_load(text))
    assert set(settings.models) == {"assistant", "assistant-fast", "assistant-single"}
