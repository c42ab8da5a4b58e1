"""A judge's faults: which answers lose their rewards, the errors, and the retries."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from bon_gateway.backends.reward.judge.asking import LONGEST_WAIT_S
from bon_gateway.errors import AbstainedError, NoRewardError, RewardError, RewardRefusedError
from bon_gateway.testing.judges import FakeJudge, fenced
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Caller, RewardRequest, Scores
from tests.bon_gateway.backends.support import MESSAGES, SECRET, after_warm_up, judge, started
from tests.waiting import until

FIVE = {"type": "pointwise", "levels": 5}
BEST = FakeJudge(lambda prompt: {"E": 1.0})
ANSWERS = [{"role": "assistant", "content": text} for text in ("one", "two", "three")]


def reply(**choice: Any) -> Step:
    """A whole answer with the given message, or with other parts of its choice."""
    whole = {"index": 0, "finish_reason": "stop", "logprobs": None, **choice}
    return Step(raw=orjson.dumps({"choices": [whole], "usage": {"prompt_tokens": 5}}))


def for_two(step: Step | None) -> FakeJudge:
    """The answer ``two`` gets ``step``."""
    return FakeJudge(lambda prompt: step if fenced(prompt) == ["two"] else {"E": 1.0})


async def judged(upstream: FakeUpstream, fake: FakeJudge, **settings: Any) -> Scores:
    upstream.script = BEST
    backend = judge(upstream, **{"method": FIVE, **settings})
    async with started(backend):
        after_warm_up(upstream, fake)
        return await backend.score(RewardRequest(MESSAGES), ANSWERS)


NO_TEXT = {
    "sentence": None,
    "text": reply(message={"role": "assistant", "content": "I would say it is quite good."}),
    "empty": reply(message={"role": "assistant", "content": ""}),
    "refusal": reply(message={"role": "assistant", "content": None, "refusal": "I will not."}),
    "filtered": reply(message={"content": "E"}, finish_reason="content_filter"),
    "no choices": Step(raw=b'{"choices": []}'),
}
NO_NUMBERS = {
    "no logprobs": reply(message={"content": "E"}),
    "no number": reply(message={"content": "E"}, logprobs={"content": [{"token": "E"}]}),
    "of another text": reply(message={"content": "E"}, logprobs={"content": [{"token": "?"}]}),
}


@pytest.mark.parametrize(
    ("read", "step"),
    [
        *(("text", step) for step in NO_TEXT.values()),
        *(("expectation", step) for step in (NO_TEXT | NO_NUMBERS).values()),
    ],
)
async def test_no_verdict_is_an_abstention(
    upstream: FakeUpstream, read: str, step: Step | None
) -> None:
    scores = await judged(upstream, for_two(step), method={**FIVE, "read": read})
    assert scores.rewards == (1.0, None, 1.0)
    assert scores.missing is not None
    assert scores.judging is not None
    assert (scores.judging.calls, scores.judging.abstentions) == (3, 1)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", '"x"', "null", "[]"])
async def test_odd_numbers_are_no_verdict(upstream: FakeUpstream, number: str) -> None:
    logprobs = {"content": [{"token": "E", "logprob": "NUMBER", "top_logprobs": []}]}
    whole = {"choices": [{"message": {"content": "E"}, "logprobs": logprobs}]}
    text = orjson.dumps(whole).decode().replace('"NUMBER"', number)
    scores = await judged(upstream, for_two(Step(raw=text.encode())))
    assert scores.rewards == (1.0, None, 1.0)
    assert isinstance(scores.missing, AbstainedError)


async def test_a_judge_that_is_down_raises(upstream: FakeUpstream) -> None:
    upstream.script = BEST
    backend = judge(upstream, method=FIVE)
    async with started(backend):
        await upstream.stop()
        for _ in range(2):
            with pytest.raises(NoRewardError):
                await backend.score(RewardRequest(MESSAGES), ANSWERS)
        assert not backend.ready()


async def test_a_slow_judge_costs_the_answers_that_wait(upstream: FakeUpstream) -> None:
    never = Step(hold=asyncio.Event())
    scores = await judged(upstream, for_two(never), timeout_s=0.5)
    assert scores.rewards == (1.0, None, 1.0)
    assert scores.missing is not None
    assert "too long" in scores.missing.message
    # It is not asked again: that would take as long.
    assert len(upstream.calls) == 3


@pytest.mark.parametrize("status", [429, 503])
async def test_an_overloaded_judge_is_asked_once_more(upstream: FakeUpstream, status: int) -> None:
    busy = Step(status=status, headers={"retry-after": "0"})
    answers = {"two": [busy]}

    def rule(prompt: str) -> Any:
        left = answers.get(fenced(prompt)[0])
        return left.pop() if left else {"E": 1.0}

    scores = await judged(upstream, FakeJudge(rule))
    assert scores.rewards == (1.0, 1.0, 1.0)
    assert scores.judging is not None
    assert (scores.judging.calls, scores.judging.abstentions) == (4, 0)
    answers["two"] = [busy, busy]
    scores = await judged(upstream, FakeJudge(rule))
    assert scores.rewards == (1.0, None, 1.0)
    assert scores.missing is not None
    assert scores.missing.code == "reward_overloaded"


async def test_a_long_pause_is_not_waited_for(upstream: FakeUpstream) -> None:
    busy = Step(status=429, headers={"retry-after": str(LONGEST_WAIT_S + 1)})
    scores = await judged(upstream, for_two(busy))
    assert scores.rewards == (1.0, None, 1.0)
    assert len(upstream.calls) == 3


async def test_a_lost_connection_is_asked_once_more(upstream: FakeUpstream) -> None:
    lost = [Step(cut_after=0)]
    fake = FakeJudge(
        lambda prompt: lost.pop() if fenced(prompt) == ["two"] and lost else {"E": 1.0}
    )
    assert (await judged(upstream, fake)).rewards == (1.0, 1.0, 1.0)


async def test_an_answer_that_is_too_long_costs_only_itself(upstream: FakeUpstream) -> None:
    refused = Step(status=400, error={"message": "too long", "code": 400})
    scores = await judged(upstream, for_two(refused))
    assert scores.rewards == (1.0, None, 1.0)
    assert isinstance(scores.missing, RewardRefusedError)


async def test_refusing_all_is_no_reason_to_ask_again(upstream: FakeUpstream) -> None:
    """Each answer has the error, and the conversation goes on."""
    refused = Step(status=400, error={"message": "too long", "code": 400})
    scores = await judged(upstream, FakeJudge(lambda prompt: refused))
    assert scores.rewards == (None, None, None)
    assert isinstance(scores.missing, RewardRefusedError)


async def test_a_huge_answer_fails(upstream: FakeUpstream) -> None:
    huge = Step(raw=b'{"choices": [], "x": "' + b"x" * 300_000 + b'"}')
    scores = await judged(upstream, for_two(huge), max_answer_bytes=200_000)
    assert scores.rewards == (1.0, None, 1.0)
    # Within the bound it is read like any other, in a thread.
    scores = await judged(upstream, for_two(huge))
    assert scores.rewards == (1.0, None, 1.0)


async def test_the_budget_is_for_all_calls_of_a_request(upstream: FakeUpstream) -> None:
    upstream.script = BEST
    backend = judge(upstream, method=FIVE, budget={"calls": 4})
    async with started(backend):
        after_warm_up(upstream, BEST)
        request = RewardRequest(MESSAGES)
        first = await backend.score(request, ANSWERS)
        others = [{**one, "content": f"{one['content']} more"} for one in ANSWERS]
        second = await backend.score(request, others)
        other = await backend.score(RewardRequest(MESSAGES), ANSWERS)
    assert first.rewards == other.rewards == (1.0, 1.0, 1.0)
    assert second.rewards == (1.0, None, None)
    assert isinstance(second.missing, AbstainedError)
    assert second.judging is not None
    assert (second.judging.calls, second.judging.abstentions) == (1, 2)
    assert len(upstream.calls) == 7


async def test_a_retry_is_paid_from_the_budget_too(upstream: FakeUpstream) -> None:
    busy = Step(status=503, headers={"retry-after": "0"})
    fake = FakeJudge(lambda prompt: busy)
    with pytest.raises(RewardError):
        await judged(upstream, fake, budget={"calls": 5})
    assert len(upstream.calls) == 5


async def test_a_budget_of_tokens(upstream: FakeUpstream) -> None:
    """At one call a time the first one spends it."""
    scores = await judged(upstream, BEST, budget={"tokens": 20}, at_once=1)
    assert scores.rewards == (1.0, None, None)


async def test_at_most_so_many_calls_run_at_once(upstream: FakeUpstream) -> None:
    gate = asyncio.Event()
    upstream.script = BEST
    backend = judge(upstream, method=FIVE, at_once=2)
    async with started(backend):
        after_warm_up(upstream, lambda call: Step(hold=gate))
        task = asyncio.create_task(backend.score(RewardRequest(MESSAGES), ANSWERS))
        await until(lambda: upstream.running == 2)
        upstream.script = BEST
        gate.set()
        await task
        assert upstream.max_running == 2


async def test_whoever_leaves_cancels_all_calls(upstream: FakeUpstream) -> None:
    upstream.script = BEST
    backend = judge(upstream, method=FIVE)
    async with started(backend):
        after_warm_up(upstream, lambda call: Step(hold=asyncio.Event()))
        task = asyncio.create_task(backend.score(RewardRequest(MESSAGES), ANSWERS))
        await until(lambda: upstream.running == 3)
        task.cancel()
        await until(lambda: upstream.running == 0)
        assert upstream.aborted == 3


async def test_the_key_goes_to_the_judge_and_into_no_error() -> None:
    async with FakeUpstream(BEST, api_key=SECRET) as upstream:
        backend = judge(upstream, key=SECRET, method=FIVE)
        async with started(backend):
            request = RewardRequest(MESSAGES, caller=Caller("req"))
            assert (await backend.score(request, ANSWERS)).rewards == (1.0, 1.0, 1.0)
            assert {call.headers["authorization"] for call in upstream.calls} == {
                f"Bearer {SECRET}"
            }
        stranger = judge(upstream, key="wrong", method=FIVE)
        await stranger.start()
        try:
            await until(stranger.troubles)
            [trouble] = stranger.troubles().values()
            assert "it refused the gateway's key (401)" in trouble
            assert "wrong" not in trouble
        finally:
            await stranger.close()


async def test_what_does_not_come_up_says_why(upstream: FakeUpstream) -> None:
    cases: list[tuple[Any, str]] = [
        (FakeJudge(lambda prompt: {"E": 1.0}, logprobs=False), "no log-probabilities"),
        (lambda call: Step(status=404), "no such model or path (404)"),
        (lambda call: Step(status=400, error={"message": "top_logprobs is unknown"}), "unknown"),
    ]
    for script, why in cases:
        upstream.script = script
        backend = judge(upstream, method=FIVE)
        await backend.start()
        try:
            await until(backend.troubles)
            [trouble] = backend.troubles().values()
            assert why in trouble
            assert not backend.ready()
        finally:
            await backend.close()


async def test_without_log_probabilities_text_is_read(upstream: FakeUpstream) -> None:
    upstream.script = FakeJudge(lambda prompt: {"E": 1.0}, logprobs=False)
    backend = judge(upstream, method={**FIVE, "read": "text"})
    async with started(backend):
        assert (await backend.score(RewardRequest(MESSAGES), ANSWERS)).rewards == (1.0, 1.0, 1.0)


async def test_warming_up_takes_one_call(upstream: FakeUpstream) -> None:
    upstream.script = BEST
    criteria = [{"text": "Right?"}, {"text": "Clear?"}]
    backend = judge(upstream, method={**FIVE, "criteria": criteria, "repeats": 3})
    async with started(backend):
        assert len(upstream.calls) == 1


async def test_another_replica_is_asked_when_one_dies() -> None:
    async with FakeUpstream(BEST) as one, FakeUpstream(BEST) as other:
        backend = judge(one, other, method=FIVE)
        async with started(backend):
            request = RewardRequest(MESSAGES)
            assert (await backend.score(request, ANSWERS)).rewards == (1.0, 1.0, 1.0)
            # All calls of a request go to one, whose cache has the conversation.
            asked = [upstream for upstream in (one, other) if len(upstream.calls) > 1]
            assert len(asked) == 1
            await asked[0].stop()
            assert (await backend.score(request, ANSWERS)).rewards == (1.0, 1.0, 1.0)


async def test_counts_that_cannot_be_are_no_counts(upstream: FakeUpstream) -> None:
    """Their sum would not fit into the gateway's answer, and would spend a key's budget."""
    verdict = {"message": {"content": "E"}, "logprobs": {"content": [{"token": "E", "logprob": 0}]}}
    usage = {"prompt_tokens": 2**64 - 1, "completion_tokens": 2**63}
    step = Step(raw=orjson.dumps({"choices": [verdict], "usage": usage}))
    scores = await judged(upstream, FakeJudge(lambda prompt: step))
    assert scores.rewards == (1.0, 1.0, 1.0)
    assert scores.judging is not None
    assert (scores.judging.prompt_tokens, scores.judging.completion_tokens) == (0, 0)


def called(name: str) -> dict[str, Any]:
    """A call of a tool, whose id is random at most engines."""
    function = {"name": "look_up", "arguments": '{"city": "Paris"}'}
    call = {"id": name, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize("kind", ["pointwise", "pairwise", "listwise"])
async def test_answers_that_read_alike_are_judged_once(upstream: FakeUpstream, kind: str) -> None:
    upstream.script = fake = FakeJudge(lambda prompt: {"A": 0.5, "B": 0.5})
    backend = judge(upstream, method={"type": kind})
    async with started(backend):
        after_warm_up(upstream, fake)
        request = RewardRequest(MESSAGES)
        scores = await backend.score(request, [called("one"), called("two"), called("one")])
        asked = len(upstream.calls)
        again = await backend.score(request, [called("three")])
    assert len({*scores.rewards}) == 1
    assert None not in scores.rewards
    # With nothing to compare them with, the others need no call at all.
    assert asked == len(upstream.calls) == (1 if kind == "pointwise" else 0)
    assert again.rewards == scores.rewards[:1]


async def test_no_more_tokens_are_cached_than_read(upstream: FakeUpstream) -> None:
    scores = await judged(upstream, FakeJudge(lambda prompt: {"E": 1.0}, cached=10**6))
    assert scores.judging is not None
    assert 0 < scores.judging.cached_tokens == scores.judging.prompt_tokens


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ([{"token": "token_id:48", "logprob": 0}], "--return-tokens-as-token-ids"),
        ([{"token": "other", "logprob": 0}], "do not make up its reply"),
    ],
)
async def test_log_probabilities_of_other_tokens_are_named(
    upstream: FakeUpstream, listed: list[Any], why: str
) -> None:
    step = reply(message={"content": "E"}, logprobs={"content": listed})
    scores = await judged(upstream, for_two(step))
    assert scores.rewards == (1.0, None, 1.0)
    assert scores.missing is not None
    assert why in scores.missing.message


async def test_a_judge_without_a_verdict_at_the_start_serves_and_is_named(
    upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.script = FakeJudge(lambda prompt: None)
    with caplog.at_level("WARNING"):
        backend = judge(upstream, method={**FIVE, "read": "text"})
        async with started(backend):
            assert not backend.troubles()
            after_warm_up(upstream, BEST)
            assert (await backend.score(RewardRequest(MESSAGES), ANSWERS)).rewards[0] == 1.0
    [line] = [record.getMessage() for record in caplog.records]
    assert line.endswith(
        "is up, but: no verdict on a test answer: its reply has no verdict: 'Well'"
    )


async def test_what_clients_see_of_a_missing_verdict_quotes_nothing(upstream: FakeUpstream) -> None:
    step = reply(message={"content": "a secret text"}, finish_reason="length")
    scores = await judged(upstream, for_two(step), method={**FIVE, "read": "text"})
    assert scores.missing is not None
    assert scores.missing.message == (
        "The judge gave no verdict on 1 of 3 answers: its reply was cut at max_tokens and has no"
        " verdict."
    )
