"""The fake upstream is trusted by every other test of the gateway, so it is tested itself."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import aiohttp
import pytest

from bon_gateway.testing.script import Step, by_candidate, by_ordinal, fake_reward, fake_tokens
from bon_gateway.testing.upstream import FakeUpstream
from tests.waiting import until

MESSAGES = [{"role": "user", "content": "x"}]


async def post(url: str, **body: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "messages"),
        ({"messages": MESSAGES, "model": "other"}, 404, "model"),
        ({"messages": MESSAGES, "temperature": -1}, 400, "temperature"),
        ({"messages": MESSAGES, "n": 2, "temperature": 0}, 400, "n"),
    ],
)
async def test_it_refuses_what_vllm_refuses(
    upstream: FakeUpstream, body: dict[str, Any], status: int, param: str
) -> None:
    got, answer = await post(f"{upstream.url}/v1/chat/completions", **body)
    assert (got, answer["error"]["param"], answer["error"]["code"]) == (status, param, status)


async def test_child_i_of_one_request_uses_seed_plus_i(upstream: FakeUpstream) -> None:
    _, answer = await post(f"{upstream.url}/v1/chat/completions", messages=MESSAGES, n=3, seed=5)
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert texts == ["".join(fake_tokens(5 + i, 12)) for i in range(3)]
    assert len(set(texts)) == 3
    assert answer["usage"]["completion_tokens"] == 36


async def test_classify_has_a_sigmoid_unless_told_otherwise(upstream: FakeUpstream) -> None:
    messages = [*MESSAGES, {"role": "assistant", "content": "y"}]
    url = f"{upstream.url}/classify"
    _, squashed = await post(url, messages=messages)
    _, raw = await post(url, messages=messages, use_activation=False)
    assert raw["data"][0]["probs"] == [fake_reward("y")]
    assert squashed["data"][0]["probs"] == [pytest.approx(1 / (1 + math.exp(-fake_reward("y"))))]


def test_rewards_differ() -> None:
    rewards = {fake_reward("".join(fake_tokens(seed, 12))) for seed in range(100)}
    assert len(rewards) > 95
    assert all(-10 <= reward <= 10.001 for reward in rewards)


async def test_scripts_by_ordinal_and_by_candidate(upstream: FakeUpstream) -> None:
    url = f"{upstream.url}/v1/chat/completions"
    upstream.script = by_ordinal(Step(status=500, error="boom"))
    assert [(await post(url, messages=MESSAGES))[0] for _ in range(2)] == [500, 200]
    upstream.script = by_candidate({2: Step(status=500, error="boom")})
    async with aiohttp.ClientSession() as session:
        for request_id, status in (("a-b-2", 500), ("a-b-1", 200), ("2-x", 200)):
            async with session.post(
                url, json={"messages": MESSAGES}, headers={"x-request-id": request_id}
            ) as response:
                assert response.status == status


async def test_it_counts_what_runs_and_what_was_aborted(upstream: FakeUpstream) -> None:
    upstream.script = lambda call: Step(delay_s=30)
    task = asyncio.create_task(post(f"{upstream.url}/v1/chat/completions", messages=MESSAGES))
    await until(lambda: upstream.running == 1)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{upstream.url}/metrics") as response,
    ):
        assert "vllm:num_requests_running 1.0" in await response.text()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: upstream.running == 0)
    assert (upstream.requests, upstream.aborted, upstream.max_running) == (1, 1, 1)


async def test_it_wants_its_key() -> None:
    async with FakeUpstream(api_key="right") as upstream:
        status, answer = await post(f"{upstream.url}/v1/chat/completions", messages=MESSAGES)
    assert (status, answer) == (401, {"error": "Unauthorized"})


async def test_it_comes_back_on_the_same_port() -> None:
    async with FakeUpstream() as upstream:
        url = upstream.url
        await upstream.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(f"{url}/v1/chat/completions", messages=MESSAGES)
        await upstream.start()
        assert upstream.url == url
        assert (await post(f"{url}/v1/chat/completions", messages=MESSAGES))[0] == 200
