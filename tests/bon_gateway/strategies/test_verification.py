"""Candidates are verified as they arrive; one that fails wins only if all others fail too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bon_gateway.errors import DeadlineError, NoValidCandidateError
from bon_gateway.judging import JudgeUsage
from bon_gateway.protocols import Trace
from bon_gateway.strategies.adaptive import AdaptiveStrategySettings
from bon_gateway.strategies.best_of_n import BestOfNSettings
from bon_gateway.strategies.cascade import CascadeSettings
from bon_gateway.strategies.first_k import FirstKSettings
from bon_gateway.strategies.good_enough import GoodEnoughSettings
from bon_gateway.strategies.majority import MajoritySettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import (
    Act,
    FakePolicy,
    FakeReward,
    FakeVerifiers,
    completion,
    reward_of_digits,
)
from bon_gateway.types import ChatRequest, Message, Selection
from bon_gateway.verdicts import PASSED, Verdict, VerdictOutcome, abstained, failed
from tests.waiting import until

Ask = Callable[..., ChatRequest]


def failing(*texts: str) -> Callable[[Message], Verdict]:
    return lambda message: failed("is_wrong") if message["content"] in texts else PASSED


def saying(*texts: str) -> FakePolicy:
    return FakePolicy({i: Act((completion(text),)) for i, text in enumerate(texts)})


async def best_of(
    verifiers: FakeVerifiers,
    policy: FakePolicy,
    reward: FakeReward,
    request: ChatRequest,
    **settings: Any,
) -> Selection:
    strategy = BestOfNSettings(type="best_of_n", **settings).build(Referee())
    return await strategy.run(request, policy, reward, Trace(verifiers=verifiers))


async def test_one_that_fails_does_not_win_and_is_not_scored(ask: Ask) -> None:
    reward = FakeReward()
    verifiers = FakeVerifiers(failing("answer 3"))
    selection = await best_of(verifiers, FakePolicy(), reward, ask(), n=4)
    assert selection.winners == (2,)
    assert [m["content"] for call in reward.calls for m in call] == [
        "answer 0", "answer 1", "answer 2",
    ]  # fmt: skip
    assert selection.degraded == ()
    lost = selection.candidates[3]
    assert lost.refuted
    assert lost.reward is None
    assert lost.verdicts == {"fake": failed("is_wrong")}


async def test_if_all_fail_the_best_of_them_is_scored_and_marked(ask: Ask) -> None:
    verifiers = FakeVerifiers(lambda _: failed("is_wrong"))
    selection = await best_of(verifiers, FakePolicy(), FakeReward(), ask(), n=3)
    assert selection.winners == (2,)
    assert selection.winner.reward == 2.0
    assert selection.degraded == ("verification_failed",)


async def test_if_all_fail_it_may_be_an_error_that_says_why(ask: Ask) -> None:
    reward = FakeReward()
    verifiers = FakeVerifiers(
        lambda m: failed("is_wrong" if m["content"] == "answer 0" else "answer 1 is bad"),
        on_all_failed="error",
    )
    with pytest.raises(NoValidCandidateError) as raised:
        await best_of(verifiers, FakePolicy(), reward, ask(), n=3)
    # Words of a reason may quote the answer.
    assert (
        raised.value.message == "the verifiers failed all candidates: fake (2), fake: is_wrong (1)"
    )
    assert reward.calls == []


async def test_one_that_has_an_answer_goes_before_one_that_is_blank_even_if_both_fail(
    ask: Ask,
) -> None:
    verifiers = FakeVerifiers(lambda _: failed("is_wrong"))
    selection = await best_of(verifiers, saying("  ", "9"), FakeReward(), ask(), n=2, retries=0)
    assert selection.winners == (1,)


async def test_an_abstention_may_win_and_is_marked(ask: Ask) -> None:
    verifiers = FakeVerifiers(lambda m: abstained("down") if m["content"] == "answer 2" else PASSED)
    selection = await best_of(verifiers, FakePolicy(), FakeReward(), ask(), n=3)
    assert selection.winners == (2,)
    assert selection.degraded == ("verification_abstained",)


async def test_identical_answers_are_verified_once(ask: Ask) -> None:
    verifiers = FakeVerifiers()
    await best_of(verifiers, saying("1", "1", "2"), FakeReward(), ask(), n=3)
    assert sorted(m["content"] for m in verifiers.calls) == ["1", "2"]


async def test_they_are_verified_side_by_side_and_scored_as_they_pass(ask: Ask) -> None:
    never: list[Message] = []

    def rule(message: Message) -> Verdict | None:
        if message["content"] == "answer 0":
            never.append(message)
            return None
        return PASSED

    reward = FakeReward()
    verifiers = FakeVerifiers(rule)
    running = asyncio.ensure_future(best_of(verifiers, FakePolicy(), reward, ask(), n=3))
    await until(lambda: reward.calls)
    assert [m["content"] for m in reward.calls[0]] == ["answer 1", "answer 2"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert verifiers.cancelled == 1


async def test_time_up_is_an_abstention_and_the_call_is_stopped(ask: Ask) -> None:
    verifiers = FakeVerifiers(lambda m: None if m["content"] == "answer 1" else PASSED)
    selection = await best_of(verifiers, FakePolicy(), FakeReward(), ask(), n=2, deadline_ms=100)
    assert selection.candidates[1].verdicts == {"fake": abstained("deadline")}
    assert selection.winners == (1,)
    assert selection.degraded == ("deadline", "verification_abstained")
    assert verifiers.cancelled == 1


async def test_failed_ones_have_arrived_by_the_deadline(ask: Ask) -> None:
    policy = FakePolicy({2: Act()})
    verifiers = FakeVerifiers(lambda _: failed("is_wrong"))
    selection = await best_of(
        verifiers, policy, FakeReward(), ask(), n=3, min_candidates=2, deadline_ms=100
    )
    assert selection.degraded == ("deadline", "verification_failed")
    with pytest.raises(DeadlineError):
        await best_of(
            verifiers, FakePolicy({2: Act()}), FakeReward(), ask(), n=3, min_candidates=3,
            deadline_ms=100,
        )  # fmt: skip


async def test_a_choice_is_never_filled_with_one_that_failed(ask: Ask) -> None:
    verifiers = FakeVerifiers(failing("answer 1"))
    selection = await best_of(verifiers, FakePolicy(), FakeReward(), ask(top=3), n=3)
    assert selection.winners == (2, 0)
    assert selection.degraded == ("fewer_choices",)


async def test_first_k_keeps_the_first_that_pass(ask: Ask) -> None:
    strategy = FirstKSettings(type="first_k", n=2, spare=2).build(Referee())
    policy = FakePolicy({3: Act()})
    trace = Trace(verifiers=FakeVerifiers(failing("answer 0")))
    selection = await strategy.run(ask(), policy, FakeReward(), trace)
    assert selection.winners == (2,)
    assert selection.candidates[3].reason == "straggler"


async def test_first_k_stops_the_calls_that_nobody_needs(ask: Ask) -> None:
    strategy = FirstKSettings(type="first_k", n=2, spare=1).build(Referee())
    verifiers = FakeVerifiers(lambda m: None if m["content"] == "answer 0" else PASSED)
    stopped = []

    def rule(message: Message) -> float:
        stopped.append(verifiers.cancelled)
        return reward_of_digits(message)

    reward = FakeReward(rule)
    selection = await strategy.run(ask(), FakePolicy(), reward, Trace(verifiers=verifiers))
    assert selection.winners == (2,)
    assert selection.candidates[0].reason == "straggler"
    # Before the others are scored, which may take long.
    assert stopped == [1, 1]


async def test_good_enough_draws_on_until_one_passes(ask: Ask) -> None:
    settings = GoodEnoughSettings(type="good_enough", n=6, wave=2, threshold=1.0)
    verifiers = FakeVerifiers(failing("answer 0", "answer 1", "answer 2"))
    reward = FakeReward()
    selection = await settings.build(Referee()).run(
        ask(), FakePolicy(), reward, Trace(verifiers=verifiers)
    )
    assert (selection.n, selection.winners, selection.stopped) == (4, (3,), "good_enough")
    assert [m["content"] for call in reward.calls for m in call] == ["answer 3"]


async def test_a_vote_of_failed_answers_ends_nothing(ask: Ask) -> None:
    settings = MajoritySettings(type="majority", n=6, wave=4, stop_at=0.9)
    verifiers = FakeVerifiers(failing("7"))
    policy = saying("7", "7", "7", "7", "5", "6")
    selection = await settings.build(Referee()).run(ask(), policy, None, Trace(verifiers=verifiers))
    assert (selection.n, selection.winners) == (6, (4,))


async def test_a_cascade_goes_on_if_the_first_policy_fails(ask: Ask) -> None:
    settings = CascadeSettings(type="cascade", first="small", first_n=1, threshold=0.0, n=2)
    trace = Trace(
        verifiers=FakeVerifiers(failing("answer 0")),
        policy="large",
        policies={"small": FakePolicy()},
    )
    selection = await settings.build(Referee()).run(ask(), FakePolicy(), FakeReward(), trace)
    assert (selection.stopped, selection.winners) == ("escalated", (2,))


async def test_adaptive_draws_on_if_all_failed(ask: Ask) -> None:
    settings = AdaptiveStrategySettings(type="adaptive", n=4, wave=2)
    verifiers = FakeVerifiers(failing("answer 0", "answer 1"))
    selection = await settings.build(Referee()).run(
        ask(), FakePolicy(), FakeReward(), Trace(verifiers=verifiers)
    )
    assert selection.winners == (3,)


async def test_verifiers_read_the_whole_conversation_and_the_metadata(ask: Ask) -> None:
    verifiers = FakeVerifiers()
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    request = ChatRequest([image], {"metadata": {"reference": "7"}}, None, 1, "r")
    strategy = BestOfNSettings(type="best_of_n", n=1, fallback="first").build(Referee())
    await strategy.run(request, FakePolicy(), None, Trace(verifiers=verifiers))
    assert verifiers.requests[0].messages == [image]
    assert verifiers.requests[0].metadata == {"reference": "7"}


async def test_what_verdicts_cost_is_counted(ask: Ask) -> None:
    cost = JudgeUsage(calls=1, prompt_tokens=5, completion_tokens=2)
    verifiers = FakeVerifiers(lambda _: Verdict(VerdictOutcome.PASS, judging=cost))
    selection = await best_of(verifiers, FakePolicy(), FakeReward(), ask(), n=2)
    assert selection.usage.judging == cost + cost


async def test_an_unfinished_answer_is_verified_too(ask: Ask) -> None:
    cut = completion("wrong", finish_reason="length")
    policy = FakePolicy({0: Act((cut,))})
    selection = await best_of(FakeVerifiers(failing("wrong")), policy, FakeReward(), ask(), n=2)
    found: Mapping[str, Verdict] | None = selection.candidates[0].verdicts
    assert found == {"fake": failed("is_wrong")}
