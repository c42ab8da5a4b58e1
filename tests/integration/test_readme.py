"""What the README tells a newcomer to type works as it is written, but for the port."""

from __future__ import annotations

import subprocess
import sys

import orjson
import pytest
import yaml

from bon_gateway.settings.tree import Settings
from tests.integration.gateway import Gateway
from tests.integration.processes import Processes
from tests.integration.readme import ADDRESS, blocks


@pytest.fixture(scope="module")
def address(passing: Processes) -> str:
    """The embedded default, as ``make serve DEMO=toy`` starts it."""
    gateway = Gateway(passing)
    gateway.wait()
    return gateway.url


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
