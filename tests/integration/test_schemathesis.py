"""schemathesis reads each server's ``/openapi.json`` and asks what no client would: no answer is a
fault of the server, and each is as the document says.

It runs as its users run it, by its own command line against real processes.
``SCHEMATHESIS_CASES`` is the number of random cases for each operation, besides those that it
derives from the document.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from bon_gateway.testing.upstream import FakeUpstream
from tests.integration.engines import start_reward_server
from tests.integration.exposition import get
from tests.integration.gateway import Gateway
from tests.integration.processes import Processes

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "20"))
LIMIT_S = 200 + 3 * CASES
"""20 cases take some 10 s for each server on a machine that has nothing else to do."""

CONFIG = """
seed = 14
continue-on-failure = true
warnings = false
# Of a machine that has much else to do.
request-timeout = 60
suppress-health-check = ["too_slow"]

[generation]
max-examples = {cases}
database = "none"

[phases.stateful]
enabled = false

# Any other status of 500 and above is wrong, even where it is documented.
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 502, 503, 504]

# Both servers read more than their documents promise, as vLLM does, and refuse some of what no
# schema can tell.
[checks.negative_data_rejection]
enabled = false
[checks.positive_data_acceptance]
enabled = false

[dictionaries.models]
values = {models}
[parameters]
"body.model" = {{ dictionary = "models", probability = 0.9 }}
"""
OF_OTHERS = ("no_valid_candidate", "deadline_exceeded")
"""Codes of 502 and 504 that say no server failed: the model wrote no JSON where some was asked for,
or the client would not wait."""
Statuses = dict[str, Counter[int]]


def fuzz(url: str, folder: Path, models: list[str], cases: int = CASES) -> Statuses:
    """What each operation answered, once there was nothing to complain of."""
    config, report = folder / "schemathesis.toml", folder / "report.ndjson"
    config.write_text(CONFIG.format(cases=cases, models=models), "utf-8")
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), f"--config-file={config}", "run"),
        *(f"{url}/openapi.json", "--report=ndjson", f"--report-ndjson-path={report}"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    statuses = answered(report)
    paths = get(f"{url}/openapi.json").json()["paths"]
    assert statuses.keys() == {f"{m.upper()} {path}" for path, of in paths.items() for m in of}
    print(f"{sum(sum(counts.values()) for counts in statuses.values())} cases: {statuses}")
    return statuses


def answered(report: Path) -> Statuses:
    statuses: Statuses = {}
    for line in report.read_bytes().splitlines():
        recorder = orjson.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for interaction in recorder.get("interactions", {}).values():
            # Without a response the case would be an error of the run.
            response = interaction["response"]
            status = response["status_code"]
            statuses.setdefault(recorder["label"], Counter())[status] += 1
            if status >= 500:
                error = orjson.loads(base64.b64decode(response["content"]["$base64"]))["error"]
                assert error["code"] in OF_OTHERS, error
    return statuses


def settings(upstream: FakeUpstream) -> dict[str, Any]:
    draw = {"policy": "p", "reward": "r"}
    return {
        "policies": {"p": {"type": "vllm", "urls": [upstream.url], "model": upstream.model}},
        "rewards": {"r": {"type": "reward_server", "urls": [upstream.url]}},
        "models": {
            "best": {**draw, "strategy": {"type": "best_of_n", "n": 4}},
            # What schemathesis calls a model where it is some other field that it tries.
            "0": {**draw, "strategy": {"type": "best_of_n", "n": 2}},
            "first": {**draw, "strategy": {"type": "first_k", "n": 2, "spare": 1}},
            "one": {"policy": "p", "strategy": {"type": "single"}},
        },
    }


@pytest.mark.timeout(LIMIT_S + 60)
async def test_the_gateway(start_gateway: Callable[[Any], Gateway], tmp_path: Path) -> None:
    async with FakeUpstream(record=False) as upstream:
        gateway = await asyncio.to_thread(start_gateway, settings(upstream))
        statuses = await asyncio.to_thread(fuzz, gateway.url, tmp_path, ["best", "one", "r"])
        await asyncio.to_thread(gateway.wait_done)
    chat = statuses["POST /v1/chat/completions"]
    assert sum(chat.values()) >= CASES
    # It gets as far as drawing candidates.
    assert chat[200] > CASES // 10
    assert chat[400] > CASES // 10
    assert statuses["POST /v1/score"][400] > 0
    assert statuses["POST /v1/score"][200] > 0
    assert "Traceback" not in gateway.process.output


@pytest.mark.timeout(LIMIT_S + 60)
def test_the_reward_server(passing: Processes, tmp_path: Path) -> None:
    server = start_reward_server(passing)
    server.wait()
    # Two of its operations take a body, and JSON without bounds takes long to think of.
    statuses = fuzz(server.url, tmp_path, ["reward"], CASES // 2)
    score, prefix = (statuses[f"POST /v1/{name}"] for name in ("score", "prefix"))
    assert sum(score.values()) + sum(prefix.values()) >= CASES
    assert score[400] > CASES // 10
    assert score[200] > 0
    assert prefix[200] > 0
    assert "Traceback" not in server.process.output
    server.process.stop()
