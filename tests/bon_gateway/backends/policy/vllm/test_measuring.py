"""VllmPolicy.sample with a signal: candidates are measured, and otherwise the same."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from bon_gateway.strategies.signals import MEAN_LOGPROB, LowestGroupSettings
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Completion, Signal
from tests.bon_gateway.backends.support import after_warm_up, chat, draw, policy, started

PATHS = [("separate", False), ("separate", True), ("together", False), ("together", True)]
TOP_2 = LowestGroupSettings(type="lowest_group", top_logprobs=2, window=5).build()
SEEN: list[dict[str, Any]] = [
    {},
    {"logprobs": True},
    {"logprobs": True, "top_logprobs": 1},
    {"logprobs": True, "top_logprobs": 7},
    {"return_token_ids": True, "max_tokens": 5},
]


@pytest.mark.parametrize("sampling", SEEN)
@pytest.mark.parametrize("signal", [MEAN_LOGPROB, TOP_2])
async def test_measuring_changes_nothing_else(
    upstream: FakeUpstream, sampling: dict[str, Any], signal: Signal
) -> None:
    backends = {fan_out: policy(upstream, fan_out=fan_out) for fan_out in ("separate", "together")}
    async with started(*backends.values()):
        after_warm_up(upstream, Step(tokens=37))
        for fan_out, count_tokens in PATHS:
            plain, seen = [
                await draw(backends[fan_out], request, range(3), count_tokens=count_tokens)
                for request in (chat(**sampling), replace(chat(**sampling), signal=signal))
            ]
            for index in range(3):
                outcome = seen[index]
                assert isinstance(outcome, Completion)
                assert outcome.confidence is not None
                assert replace(outcome, confidence=None) == plain[index]


@pytest.mark.parametrize(("fan_out", "count_tokens"), PATHS)
async def test_what_is_measured(upstream: FakeUpstream, fan_out: str, count_tokens: bool) -> None:
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        after_warm_up(upstream, Step(text="a bbb cc"))
        for signal, expected in (
            (MEAN_LOGPROB, -fmean([1, 4, 3]) / 8),
            # The likeliest of a token of length k have -1/8k and -2/8k: that drawn is not among
            # them, but where its length is 1.
            (TOP_2, fmean([1, 1.5 / 4, 1.5 / 3]) / 8),
        ):
            outcomes = await draw(
                backend, replace(chat(), signal=signal), range(2), count_tokens=count_tokens
            )
            for outcome in outcomes.values():
                assert isinstance(outcome, Completion)
                assert outcome.confidence == pytest.approx(expected, abs=1e-9)


def answer(*logprobs: bytes) -> Step:
    message = b'{"role": "assistant", "content": "so"}'
    choices = b",".join(
        b'{"index": %d, "message": %b, "finish_reason": "stop", "logprobs": %b}'
        % (i, message, each)
        for i, each in enumerate(logprobs)
    )
    usage = b'{"prompt_tokens": 1, "completion_tokens": 6}'
    return Step(raw=b'{"choices": [%b], "usage": %b}' % (choices, usage))


GOOD = b'{"content": [{"token": "so", "logprob": -0.5, "bytes": null}]}'


@pytest.mark.parametrize(
    "broken",
    [
        b"null",
        b'"text"',
        b'{"content": null}',
        b'{"content": [{"token": "so"}]}',
        b'{"content": [{"logprob": "-0.5"}]}',
        b'{"content": [{"logprob": NaN}]}',
        b'{"content": [{"logprob": -1e400}]}',
        b'{"content": 5}',
    ],
)
@pytest.mark.parametrize("signal", [MEAN_LOGPROB, TOP_2])
async def test_logprobs_that_cannot_be_read_cost_no_candidate(
    upstream: FakeUpstream, broken: bytes, signal: Signal
) -> None:
    """The client did not ask for them."""
    backend = policy(upstream, fan_out="together")
    async with started(backend):
        after_warm_up(upstream, answer(GOOD, broken))
        outcomes = await draw(backend, replace(chat(), signal=signal), range(2))
    for index, outcome in outcomes.items():
        assert isinstance(outcome, Completion), outcome
        assert (outcome.message["content"], outcome.logprobs) == ("so", None)
        known = signal is MEAN_LOGPROB and index == 0
        assert outcome.confidence == (-0.5 if known else None)


@pytest.mark.parametrize(
    "payload",
    [b"[1]", b'{"choices": 5}', b'{"choices": [5]}', b'{"choices": [{"index": 0}]}', b"{"],
)
async def test_what_is_no_answer_is_the_same_failure(
    upstream: FakeUpstream, payload: bytes
) -> None:
    backend = policy(upstream, fan_out="together")
    async with started(backend):
        after_warm_up(upstream, Step(raw=payload))
        plain = await draw(backend, chat(), range(2))
        seen = await draw(backend, replace(chat(), signal=MEAN_LOGPROB), range(2))
    assert [str(seen[index]) for index in seen] == [str(plain[index]) for index in plain]
    assert not any(isinstance(outcome, Completion) for outcome in seen.values())


async def test_only_the_numbers_of_unseen_logprobs_are_read(upstream: FakeUpstream) -> None:
    """Whatever else stands there is skipped, and never becomes an object."""
    token = {"token": "x" * 50, "logprob": -1.0, "bytes": list(range(200)), "other": [{}] * 50}
    many = orjson.dumps({"content": [{**token, "top_logprobs": [token] * 3}] * 40})
    backend = policy(upstream, fan_out="together")
    async with started(backend):
        after_warm_up(upstream, answer(many, many))
        outcomes = await draw(backend, replace(chat(), signal=TOP_2), range(2))
    for outcome in outcomes.values():
        assert isinstance(outcome, Completion)
        assert (outcome.confidence, outcome.logprobs) == (1.0, None)
