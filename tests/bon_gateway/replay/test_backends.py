"""The recorded policy and the recorded rewards, without a strategy."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bon_gateway.errors import PolicyRefusedError, RewardRefusedError
from bon_gateway.protocols import Trace
from bon_gateway.replay.log import RecordedCandidate, begun
from bon_gateway.replay.policy import RecordedPolicy
from bon_gateway.replay.rewards import RecordedRewards, known_rewards
from bon_gateway.strategies.signals import MEAN_LOGPROB, SelfCertaintySettings
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import (
    CandidateStatus,
    ChatRequest,
    Completion,
    RewardRequest,
    Sample,
    Signal,
)
from tests.bon_gateway.replay.kit import candidates, line, read, virtual, write
from tests.bon_gateway.watches import StoppingWatch

ASKED = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "r")
LENGTHS = (30, 10, 20, 10)


def policy(**more: Any) -> RecordedPolicy:
    drawn = [
        RecordedCandidate(
            i, CandidateStatus.FINISHED, tokens, {"role": "assistant", "content": f"{i}"}, **more
        )
        for i, tokens in enumerate(LENGTHS)
    ]
    return RecordedPolicy(drawn, 5, 0.5, None)


def test_candidates_arrive_by_their_lengths() -> None:
    async def work() -> list[tuple[int, float]]:
        seen: list[tuple[int, float]] = []
        loop = asyncio.get_running_loop()
        own, trace = policy(), Trace()
        await own.sample(ASKED, range(4), trace, lambda s: seen.append((s.index, loop.time())))
        assert own.tokens == trace.tokens == dict(enumerate(LENGTHS))
        return seen

    assert virtual(work()) == [(1, 5.0), (3, 5.0), (2, 10.0), (0, 15.0)]


def test_what_is_stopped_has_the_tokens_until_then() -> None:
    async def work() -> dict[int, int]:
        own, trace = policy(), Trace()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7.4):
                await own.sample(ASKED, range(4), trace, lambda _: None)
        assert own.tokens == trace.tokens
        return own.tokens

    assert virtual(work()) == {0: 14, 1: 10, 2: 14, 3: 10}


def test_draws_at_once_are_one_round_and_draws_after_them_another() -> None:
    async def work() -> tuple[int, int]:
        own = policy()
        draws = [own.sample(ASKED, [i], Trace(), lambda _: None) for i in (0, 1)]
        await asyncio.gather(*draws)
        at_once = own.rounds
        await own.sample(ASKED, [2, 3], Trace(), lambda _: None)
        return at_once, own.rounds

    assert virtual(work()) == (1, 2)


def test_an_index_beyond_the_pool_is_refused_and_said() -> None:
    async def work() -> tuple[list[Sample], RecordedPolicy]:
        own, seen = policy(), list[Sample]()
        await own.sample(ASKED, [4, 1], Trace(), seen.append)
        return seen, own

    seen, own = virtual(work())
    assert own.short
    assert [sample.index for sample in seen] == [4, 1]
    assert isinstance(seen[0].outcome, PolicyRefusedError)
    assert own.tokens == {1: 10}


def test_the_log_probabilities_keep_their_sum_and_their_mean() -> None:
    async def work() -> Completion:
        seen: list[Sample] = []
        await policy(logprob=-6.0).sample(ASKED, [0], Trace(), seen.append)
        outcome = seen[0].outcome
        assert isinstance(outcome, Completion)
        return outcome

    completion = virtual(work())
    assert completion.logprob == pytest.approx(-6.0)
    assert completion.logprobs is not None
    content = completion.logprobs["content"]
    assert math.fsum(t["logprob"] for t in content) / len(content) == pytest.approx(-0.2)


def test_confidence_is_measured_as_by_any_policy() -> None:
    async def work(signal: Signal | None) -> Completion:
        seen: list[Sample] = []
        asked = msgspec.structs.replace(ASKED, signal=signal)
        await policy(logprob=-6.0).sample(asked, [0], Trace(), seen.append)
        outcome = seen[0].outcome
        assert isinstance(outcome, Completion)
        return outcome

    assert virtual(work(None)).confidence is None
    found = virtual(work(MEAN_LOGPROB))
    assert found.confidence == pytest.approx(-0.2)
    # The request did not ask for log-probabilities itself.
    assert found.logprobs is None
    # The log has no alternatives to a token.
    assert virtual(work(SelfCertaintySettings(type="self_certainty").build())).confidence is None


def test_a_stream_has_the_whole_answer() -> None:
    async def work() -> list[Any]:
        return [delta async for delta in policy().stream(ASKED, Trace())]

    (delta,) = virtual(work())
    assert delta.choice["delta"]["content"] == "0"
    assert (delta.tokens, delta.prompt_tokens) == (30, 5)


def test_rewards_are_found_by_what_a_reward_model_reads(tmp_path: Path) -> None:
    """Thinking is no part of an answer: both say 7, and the first one's reward counts."""
    texts = ["<think>a</think>7", "<think>b</think>7", "8"]
    made = line(candidates([1.0, 2.0, None], texts=texts), prompt_tokens=5)
    (pool,) = read(write(tmp_path / "p.jsonl", [made])).pools
    known = known_rewards(pool, ThinkingSettings())

    async def work() -> None:
        rewards = RecordedRewards(known, 0.25)
        answers = [{"role": "assistant", "content": text} for text in ("7", "8", "9")]
        scores = await rewards.score(RewardRequest(pool.request.messages), answers)
        assert scores.rewards == (1.0, None, None)
        assert isinstance(scores.missing, RewardRefusedError)
        assert (rewards.answers, rewards.tokens, scores.tokens) == (3, 15, 15)
        assert asyncio.get_running_loop().time() == 0.25

    virtual(work())


def watched(stop_at: dict[int, int]) -> tuple[RecordedPolicy, StoppingWatch, list[float]]:
    """Ends when all have ended or were stopped."""

    async def work() -> tuple[RecordedPolicy, StoppingWatch, list[float]]:
        own, watch = policy(partial_rewards=((4, 1.0), (8, 2.0), (25, 3.0))), StoppingWatch((4, 25))
        watch.stop_at = stop_at
        ended: list[float] = []
        loop = asyncio.get_running_loop()
        trace = Trace(watch=watch)
        await own.sample(ASKED, range(4), trace, lambda _: ended.append(loop.time()))
        assert own.tokens == trace.tokens
        return own, watch, ended

    return virtual(work())


def test_a_watched_candidate_is_shown_where_its_reward_was_recorded() -> None:
    _, watch, ended = watched({})
    assert {index: [*shown] for index, shown in watch.shown.items()} == {
        0: [4, 25],
        1: [4],
        2: [4],
        3: [4],
    }
    assert ended == [5.0, 5.0, 10.0, 15.0]


def test_a_stopped_candidate_has_the_tokens_until_then() -> None:
    own, watch, ended = watched({0: 25, 3: 4})
    assert own.tokens == {0: 25, 1: 10, 2: 20, 3: 4}
    assert ended == [5.0, 10.0]
    watch.stops[1]()
    assert own.tokens[1] == 10


def test_what_a_candidate_said_is_the_share_of_its_text() -> None:
    message = {"role": "assistant", "content": "abcdefghij"}
    recorded = RecordedCandidate(0, CandidateStatus.FINISHED, 20, message)
    assert begun(recorded, 5) == {"role": "assistant", "content": "ab"}
    assert begun(msgspec.structs.replace(recorded, message=None), 5) == {}
