from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bon_gateway.compare.ask.client import ArmClient, request_seed
from bon_gateway.compare.settings import ArmSettings, LoadSettings
from bon_gateway.compare.types import ArmRecord, Key
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n

KEY = Key("closed", "arm", 0, 0)
MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        yield fake


async def ask(upstream: FakeUpstream, *, stream: bool = False, **arm: Any) -> ArmRecord:
    client = ArmClient(
        ArmSettings.model_validate({"model": "fake", **arm}),
        upstream.url,
        {"temperature": 0.5, "max_tokens": 64},
        LoadSettings(timeout_s=0.5, stream=stream),
        {},
    )
    try:
        return await client.ask(KEY, MESSAGES, 7, start=time.perf_counter(), intended_s=0.0)
    finally:
        await client.close()


async def test_what_is_sent(upstream: FakeUpstream) -> None:
    await ask(upstream, bon={"n": 4}, sampling={"max_tokens": 8})
    body = upstream.calls[0].body
    assert body["bon"] == {"n": 4, "return_candidates": True}
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.5, 8, 7)
    await ask(upstream)
    assert "bon" not in upstream.calls[1].body


async def test_an_answer_of_a_gateway(upstream: FakeUpstream) -> None:
    upstream.script = best_of_n(tokens=5, scored=30)
    record = await ask(upstream, bon={"n": 3})
    assert record.ok
    assert (record.n, record.prompt_tokens, record.completion_tokens) == (3, 20, 15)
    assert (record.winner_tokens, record.discarded_tokens, record.reward_tokens) == (5, 10, 90)
    rewards = [c.reward for c in record.candidates if c.reward is not None]
    assert len(rewards) == 3
    assert record.reward == float(record.text) == max(rewards)
    assert record.timings_ms["overhead"] == 0.5


async def test_an_answer_of_any_other_endpoint(upstream: FakeUpstream) -> None:
    upstream.script = lambda call: Step(tokens=6)
    record = await ask(upstream)
    assert (record.n, record.completion_tokens, record.winner_tokens) == (1, 6, 6)
    assert (record.discarded_tokens, record.reward, record.candidates) == (0, None, ())


async def test_a_stream_has_a_first_token(upstream: FakeUpstream) -> None:
    upstream.script = lambda call: Step(tokens=6, token_s=0.01)
    streamed, whole = await ask(upstream, stream=True), await ask(upstream)
    assert streamed.first_token_s is not None
    # Five more tokens come after it, 10 ms apart at least.
    assert 0 < streamed.first_token_s < streamed.latency_s - 0.02
    assert whole.first_token_s is None
    assert (streamed.text, streamed.completion_tokens) == (whole.text, whole.completion_tokens)
    assert streamed.finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Step(status=429, error={"message": "slow down"}), "rate_limited"),
        (Step(status=503, error={"message": "full"}), "overloaded"),
        (Step(status=500, error={"message": "broken"}), "failed"),
        (Step(status=401, error={"message": "who?"}), "unauthorized"),
        (Step(status=404, error={"message": "no such model"}), "not_found"),
        (Step(status=400, error={"message": "what?"}), "refused"),
        (Step(cut_after=0), "unreachable"),
        (Step(delay_s=5.0), "timeout"),
    ],
)
async def test_failures_have_kinds(
    upstream: FakeUpstream, step: Step, kind: str, stream: bool
) -> None:
    upstream.script = lambda call: step
    record = await ask(upstream, stream=stream)
    assert (record.outcome, record.ok) == (kind, False)
    assert record.latency_s > 0
    assert record.status == (step.status if step.status != 200 else None)


@pytest.mark.parametrize(
    "raw",
    [b"no JSON", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": ["x"]}'],
)
async def test_malformed_answers(upstream: FakeUpstream, raw: bytes) -> None:
    upstream.script = lambda call: Step(raw=raw)
    assert (await ask(upstream)).outcome == "malformed"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"choices": [{"message": {}}], "usage": "many", "bon": 3}',
        b'{"choices": [{"message": {"content": null}}], "usage": {"completion_tokens": "x"}}',
        b'{"choices": [{"message": {}}], "bon": {"candidates": [1], "timings_ms": {"total": ""}}}',
    ],
)
async def test_odd_fields_are_left_out(upstream: FakeUpstream, raw: bytes) -> None:
    upstream.script = lambda call: Step(raw=raw)
    record = await ask(upstream)
    assert (record.ok, record.text, record.completion_tokens, record.n) == (True, "", 0, 1)


async def test_nobody_listens(upstream: FakeUpstream) -> None:
    await upstream.stop()
    assert (await ask(upstream)).outcome == "unreachable"


def test_seeds_lie_apart() -> None:
    keys = [Key("closed", "arm", prompt, repeat) for prompt in range(10) for repeat in range(3)]
    seeds = sorted(request_seed(0, key, 10) for key in keys)
    assert all(b - a >= 1000 for a, b in itertools.pairwise(seeds))
    assert request_seed(0, keys[4], 10) == request_seed(0, keys[4]._replace(arm="other"), 10)
