"""vLLM stops generating a candidate that was pruned, and its own counter agrees with the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bon_common.selection.pruning.probes import LEAST, PairSums, Probe
from bon_gateway.strategies.history import PastTraffic
from bon_gateway.strategies.history_files import ModelFiles, ModelIdentity
from tests.integration.conftest import FAN_OUTS, Engines
from tests.integration.gateway import Gateway
from tests.integration.patience import up_to_five_times
from tests.integration.prompts import LONG
from tests.waiting import eventually

pytestmark = pytest.mark.vllm
N = 8
POINT = 32
INTERVAL = 16
"""Tokens that may have come since vLLM last told how many there are."""
LATENCY = 96
"""Tokens that a candidate may get while its reward is computed and its abort is on its way."""
KNOWN = Probe(0, N, N * LONG["max_tokens"], {POINT: PairSums(N, 0.0, 7.0, 7.0, 6.3)})
"""A probe after which partial rewards are taken to tell the final ones."""


@pytest.mark.parametrize("fan_out", FAN_OUTS)
@up_to_five_times
async def test_what_is_pruned_is_not_generated(
    engines: Engines,
    start_gateway: Callable[[dict[str, Any]], Gateway],
    tmp_path: Path,
    fan_out: str,
) -> None:
    identity = ModelIdentity("pruned", fan_out, None, "reward_server")
    ModelFiles(tmp_path, identity).write(PastTraffic([], [KNOWN] * LEAST))
    strategy = {
        "type": "pruning",
        "n": N,
        "cap": N,
        "checkpoints": [POINT],
        "least_chance": 0.9 / N,
    }
    settings = engines.settings()
    settings["rewards"] = {"reward_server": settings["rewards"]["reward_server"]}
    settings["models"] = {
        "pruned": {"policy": fan_out, "reward": "reward_server", "strategy": strategy}
    }
    settings["history"] = {"folder": str(tmp_path)}
    gateway = await asyncio.to_thread(start_gateway, settings)
    generator = engines.generator
    # The first request has the file read.
    while True:
        before = generator.generated
        answer = (await gateway.chat(model="pruned", **LONG)).json()
        await eventually(lambda: generator.running == 0, 10, "vLLM is idle")
        generated = generator.generated - before
        if answer["bon"]["pruning"] == "on":
            break
        assert generated == answer["usage"]["completion_tokens"] == N * LONG["max_tokens"]
    candidates = answer["bon"]["candidates"]
    pruned = [one for one in candidates if one.get("reason") == "pruned"]
    reported = answer["usage"]["completion_tokens"]
    print(f"{fan_out}: {len(pruned)} pruned, vLLM {generated}, reported {reported}")
    assert 0 < len(pruned) < N
    assert all(one["partial_rewards"][0][0] == POINT <= one["tokens"] for one in pruned)
    assert all(one["tokens"] < LONG["max_tokens"] for one in pruned)
    assert reported == sum(one["tokens"] for one in candidates)
    assert reported <= generated <= reported + len(pruned) * (INTERVAL + LATENCY)
    assert generated < N * LONG["max_tokens"]
    assert answer["bon"]["winner"] in [one["index"] for one in candidates if one not in pruned]
    # Looking at a candidate does not change it.
    alone = generator.chat({**LONG, "seed": LONG["seed"] + answer["bon"]["winner"]})
    won, drawn_alone = answer["choices"][0]["message"], alone["choices"][0]["message"]
    assert won["content"] == drawn_alone["content"] != ""
