"""Prometheus' numbers are the sums of what the answers say, whichever worker is asked."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Engines
from tests.integration.exposition import scrape, total
from tests.integration.gateway import Gateway
from tests.integration.prompts import PROMPTS, ask
from tests.waiting import eventually

pytestmark = pytest.mark.vllm
KINDS = ("prompt", "winner", "discarded", "reward")


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_numbers_add_up(
    engines: Engines, start_gateway: Callable[[dict[str, Any]], Gateway], workers: int
) -> None:
    settings = engines.settings()
    settings["rewards"].pop("in_process")
    settings["models"] = {
        name: model for name, model in settings["models"].items() if "in_process" not in name
    }
    settings["server"] = {"workers": workers}
    gateway = await asyncio.to_thread(start_gateway, settings)
    model, before = "reward_server-separate", engines.generator.generated

    def first_k() -> dict[str, Any]:
        return {"strategy": "first_k", "n": 3, "spare": 1}

    asked = [
        {"messages": ask(prompt), "bon": bon, "stream": stream, "stream_options": options}
        for prompt in PROMPTS[:4]
        for bon in ({}, first_k())
        for stream, options in ((False, None), (True, {"include_usage": True}))
    ]
    answers: list[httpx.Response] = []
    for place in range(0, len(asked), 4):
        # Each over a connection of its own, so that every worker gets some.
        answers += await asyncio.gather(
            *(gateway.chat(model=model, **body) for body in asked[place : place + 4])
        )
    refused = [await gateway.chat(model=model, messages=[]) for _ in range(3)]
    unknown = await gateway.chat(model="none", messages=ask())
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.status_code for answer in (*refused, unknown)] == [400] * 3 + [404]
    await asyncio.to_thread(gateway.wait_done)

    bons = [_bon(answer) for answer in answers]
    paid = Counter[str]()
    fates = Counter[str]()
    for bon in bons:
        paid["prompt"] += bon["usage"]["prompt_tokens"]
        for kind in KINDS[1:]:
            paid[kind] += bon["usage"][f"{kind}_tokens"]
        fates.update(candidate["status"] for candidate in bon["candidates"])
    # Each worker looks at its upstreams once a second.
    await eventually(lambda: total(scrape(gateway.url), "bon_upstream_up") == 4, 10, "all are up")
    texts = [await asyncio.to_thread(scrape, gateway.url) for _ in range(6)]
    for text in texts:
        assert {
            kind: total(text, "bon_tokens_total", model=model, kind=kind) for kind in KINDS
        } == paid
        assert {
            status: total(text, "bon_candidates_total", model=model, status=status)
            for status in fates
        } == fates
        assert total(text, "bon_candidates_total") == 8 * 8 + 8 * 4
        assert total(text, "bon_requests_total", model=model, status="200") == len(answers)
        assert total(text, "bon_requests_total", status="400") == 3
        assert total(text, "bon_requests_total", model="unknown", status="404") == 1
        assert total(text, "bon_request_duration_seconds_count", model=model) == len(answers)
        assert total(text, "bon_overhead_seconds_count") == len(answers)
        assert total(text, "bon_winner_reward_count") == len(answers)
        below_0 = total(text, "bon_winner_reward_bucket", model=model, le="0.0")
        assert below_0 == sum(bon["reward"] <= 0 for bon in bons)
        assert total(text, "bon_score_errors_total") == 0
        for gauge in ("bon_requests_in_flight", "bon_candidates_in_flight"):
            assert total(text, gauge) == 0
        assert total(text, "bon_upstream_up") == 4
    members = gateway.process.members()
    assert len([m for m in members if m.pid != gateway.process.pid]) >= (2 if workers > 1 else 0)
    # Candidates that were cut may have got a few tokens more than was known of them.
    generated = engines.generator.generated - before
    assert paid["winner"] + paid["discarded"] <= generated
    gateway.process.stop()
    assert gateway.process.exit_code == 0


def _bon(answer: httpx.Response) -> dict[str, Any]:
    """The answer's own account, streamed or not; the usage it is given with says the same."""
    body = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        body = [line[6:] for line in body.splitlines() if line.startswith("data: {")][-1]
    found = json.loads(body)
    bon: dict[str, Any] = found["bon"]
    usage = bon["usage"]
    assert found["usage"]["completion_tokens"] == usage["winner_tokens"] + usage["discarded_tokens"]
    assert found["usage"]["prompt_tokens"] == usage["prompt_tokens"]
    return bon
