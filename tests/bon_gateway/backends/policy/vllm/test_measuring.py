"""VllmPolicy.sample with a signal: candidates are measured, and otherwise the same."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from bon_gateway.errors import PolicyRefusedError
from bon_gateway.strategies.signals import MEAN_LOGPROB, LowestGroupSettings
from bon_gateway.testing.script import Call, Script, Step
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


def refusing(most_top: int | None) -> Script:
    """An upstream that lists at most so many alternatives, or none of the log-probabilities."""

    def script(call: Call) -> Step:
        asked = call.body.get("logprobs"), call.body.get("top_logprobs") or 0
        refused = bool(asked[0]) if most_top is None else asked[1] > most_top
        return Step(status=400, error={"message": "no such logprobs"}) if refused else Step()

    return script


@pytest.mark.parametrize(("fan_out", "count_tokens"), PATHS)
@pytest.mark.parametrize(("most_top", "signal"), [(None, MEAN_LOGPROB), (2, TOP_2)])
async def test_an_engine_that_refuses_what_the_signal_reads_answers_all_the_same(
    upstream: FakeUpstream,
    caplog: pytest.LogCaptureFixture,
    fan_out: str,
    count_tokens: bool,
    most_top: int | None,
    signal: Signal,
) -> None:
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        upstream.script = refusing(most_top)
        plain = await draw(backend, chat(), range(3), count_tokens=count_tokens)
        request = replace(chat(), signal=signal)
        seen = await draw(backend, request, range(3), count_tokens=count_tokens)
        assert seen == plain
        assert all(isinstance(outcome, Completion) for outcome in seen.values())
        # It is asked once for what it refuses, and told once.
        before = len(upstream.calls)
        assert await draw(backend, request, range(3), count_tokens=count_tokens) == plain
        assert len(upstream.calls) - before == (1 if fan_out == "together" else 3)
        assert caplog.text.count("refuses log-probabilities") == 1
        if signal is TOP_2:
            # It still gives those that need no alternatives.
            other = await draw(
                backend, replace(chat(), signal=MEAN_LOGPROB), [0], count_tokens=count_tokens
            )
            assert isinstance(other[0], Completion)
            assert other[0].confidence is not None


async def test_one_refusal_does_not_end_what_an_engine_gave_before(
    upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    backend = policy(upstream, fan_out="together")
    request = replace(chat(), signal=MEAN_LOGPROB)
    async with started(backend):
        confidences = []
        for script in (None, refusing(None), None):
            upstream.script = script
            drawn = (await draw(backend, request, [0]))[0]
            assert isinstance(drawn, Completion)
            confidences.append(drawn.confidence is not None)
    assert confidences == [True, False, True]
    assert "refuses log-probabilities" not in caplog.text


async def test_what_the_client_s_own_parameters_cause_is_the_client_s_refusal(
    upstream: FakeUpstream,
) -> None:
    backend = policy(upstream, fan_out="together")
    async with started(backend):
        upstream.script = refusing(None)
        request = replace(chat(logprobs=True), signal=MEAN_LOGPROB)
        for outcome in (await draw(backend, request, range(2))).values():
            assert isinstance(outcome, PolicyRefusedError)
            assert "no such logprobs" in outcome.message
        upstream.script = refusing(5)
        seen = await draw(backend, replace(chat(), signal=MEAN_LOGPROB), range(2))
        assert all(isinstance(o, Completion) and o.confidence for o in seen.values())
