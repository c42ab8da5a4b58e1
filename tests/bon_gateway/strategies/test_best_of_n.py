"""Best-of-N end to end over fakes: the winner, failures, deadlines, and that nothing is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from bon_gateway.errors import (
    BadRequestError,
    DeadlineError,
    NoValidCandidateError,
    PolicyFailedError,
    PolicyRefusedError,
    RewardError,
)
from bon_gateway.protocols import Trace
from bon_gateway.strategies import draw
from bon_gateway.strategies.best_of_n import BestOfN, BestOfNSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion, reward_of_digits
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import CandidateStatus, ChatRequest, Completion, Message, Selection

Ask = Callable[..., ChatRequest]
BROKEN = PolicyFailedError("broken")
REFUSED = PolicyRefusedError("no such thing", status=400, param="top_k")


async def run(
    request: ChatRequest, policy: FakePolicy, reward: FakeReward, **settings: Any
) -> Selection:
    strategy = BestOfN(BestOfNSettings(type="best_of_n", **{"n": 4, **settings}))
    before = asyncio.all_tasks()
    try:
        return await strategy.run(request, policy, reward, Trace())
    finally:
        assert policy.running == 0
        assert asyncio.all_tasks() == before


async def test_the_best_wins_and_the_usage_is_what_was_paid(ask: Ask) -> None:
    selection = await run(ask(), FakePolicy(), FakeReward())
    assert selection.winners == (3,)
    assert [c.reward for c in selection.candidates] == [0.0, 1.0, 2.0, 3.0]
    assert selection.usage.prompt_tokens == 5
    assert selection.usage.winner_tokens == 3
    assert selection.usage.discarded_tokens == 9
    assert selection.usage.reward_tokens == 40
    assert selection.degraded == ()


async def test_top_n_comes_best_first(ask: Ask) -> None:
    selection = await run(ask(top=3), FakePolicy(), FakeReward())
    assert selection.winners == (3, 2, 1)
    assert selection.usage.winner_tokens == 9


async def test_more_answers_than_candidates_is_refused(ask: Ask) -> None:
    with pytest.raises(BadRequestError) as caught:
        await run(ask(top=5), FakePolicy(), FakeReward())
    assert caught.value.param == "n"


async def test_temperature_zero_draws_one(ask: Ask) -> None:
    selection = await run(ask(temperature=0), FakePolicy(), FakeReward())
    assert selection.n == 1
    with pytest.raises(BadRequestError):
        await run(ask(temperature=0, top=2), FakePolicy(), FakeReward())


async def test_identical_answers_are_scored_once(ask: Ask) -> None:
    same = Act((completion("7 of 7"),))
    reward = FakeReward()
    selection = await run(ask(), FakePolicy({0: same, 1: same, 3: same}), reward)
    assert sum(map(len, reward.calls)) == 2
    assert [c.reward for c in selection.candidates] == [77.0, 77.0, 2.0, 77.0]
    assert selection.winners == (0,)


async def test_candidates_are_scored_while_others_still_generate(ask: Ask) -> None:
    acts = {3: Act((completion("answer 3"),), delay=0.1)}
    reward = FakeReward()
    await run(ask(), FakePolicy(acts), reward)
    assert [len(call) for call in reward.calls] == [3, 1]


async def test_a_burst_during_scoring_goes_together_in_the_next_call(ask: Ask) -> None:
    acts = {i: Act((completion(f"answer {i}"),), delay=0.08) for i in (1, 2, 3)}
    reward = FakeReward(delay=0.2)
    await run(ask(), FakePolicy(acts), reward)
    assert [len(call) for call in reward.calls] == [1, 3]


async def test_only_the_missing_candidate_is_drawn_again(ask: Ask) -> None:
    policy = FakePolicy({3: Act((BROKEN, completion("answer 3")))})
    selection = await run(ask(), policy, FakeReward())
    assert dict(policy.attempts) == {0: 1, 1: 1, 2: 1, 3: 2}
    assert selection.winners == (3,)
    assert selection.degraded == ()


async def test_the_best_of_the_rest_wins_when_one_stays_broken(ask: Ask) -> None:
    policy = FakePolicy({3: Act((BROKEN,))})
    selection = await run(ask(), policy, FakeReward())
    assert policy.attempts[3] == 2
    assert selection.winners == (2,)
    assert selection.degraded == ("candidates_failed",)
    assert selection.candidates[3].status is CandidateStatus.FAILED
    assert selection.candidates[3].reason == "upstream_error"


async def test_a_refusal_is_not_asked_again_and_is_the_error_if_all_fail(ask: Ask) -> None:
    acts = {i: Act((BROKEN if i else REFUSED,)) for i in range(4)}
    policy = FakePolicy(acts)
    with pytest.raises(PolicyRefusedError) as caught:
        await run(ask(), policy, FakeReward())
    assert policy.attempts[0] == 1
    assert caught.value.status == 400
    assert caught.value.param == "top_k"


async def test_all_failed_gives_the_true_error(ask: Ask) -> None:
    with pytest.raises(PolicyFailedError, match="broken"):
        await run(ask(), FakePolicy({i: Act((BROKEN,)) for i in range(4)}), FakeReward())


async def test_an_empty_answer_never_wins_and_is_not_scored(ask: Ask) -> None:
    reward = FakeReward(rule=lambda message: 0.0 if message["content"] else 99.0)
    selection = await run(ask(), FakePolicy({0: Act((completion(""),))}), reward)
    assert selection.winners == (1,)
    assert selection.candidates[0].reward is None


async def test_only_invalid_answers_is_an_error_that_says_so(ask: Ask) -> None:
    acts = {i: Act((completion("" if i else "no JSON"),)) for i in range(4)}
    request = ask(response_format={"type": "json_object"})
    with pytest.raises(NoValidCandidateError, match="not_json"):
        await run(request, FakePolicy(acts), FakeReward())


async def test_where_all_are_empty_the_answer_is_empty(ask: Ask) -> None:
    empty = Act((completion(""),))
    selection = await run(ask(top=2), FakePolicy(dict.fromkeys(range(4), empty)), FakeReward())
    assert selection.winners == (0, 1)
    assert selection.degraded == ()
    assert {c.reason for c in selection.candidates} == {"empty"}


async def test_empty_and_failed_candidates_are_still_an_error(ask: Ask) -> None:
    acts = {i: Act((completion("") if i else BROKEN,)) for i in range(4)}
    with pytest.raises(NoValidCandidateError, match="empty"):
        await run(ask(), FakePolicy(acts), FakeReward())


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (completion(" \n"), completion("answer 1")),
        (completion(" \n"), completion("answer 1", finish_reason="length")),
        (completion("", finish_reason="length"), completion("answer", finish_reason="length")),
        (completion(None, reasoning="42"), completion("answer", finish_reason="length")),
        (completion(None, reasoning="42"), completion(" ")),
        (completion(None, reasoning="42"), completion(None, finish_reason="length")),
    ],
    ids=[
        "blank",
        "blank and cut",
        "cut at once",
        "misplaced",
        "misplaced, blank",
        "misplaced, cut",
    ],
)
async def test_whatever_the_reward_says_an_answer_beats_none(
    ask: Ask, worse: Completion, better: Completion
) -> None:
    reward = FakeReward(rule=lambda message: -len((message["content"] or "").strip()))
    selection = await run(ask(), FakePolicy({0: Act((worse,)), 1: Act((better,))}), reward, n=2)
    assert selection.winners == (1,)
    assert selection.candidates[0].reward is not None
    selection = await run(ask(), FakePolicy({0: Act((worse,)), 1: Act((worse,))}), reward, n=2)
    assert selection.winners == (0,)


async def test_answers_that_came_as_reasoning_are_told_once(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    policy = FakePolicy(dict.fromkeys(range(2), Act((completion(None, reasoning="secret 42"),))))
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=2))
    for _ in range(3):
        selection = await strategy.run(ask(), policy, FakeReward(), Trace())
        assert [c.reason for c in selection.candidates] == ["reasoning_only"] * 2
    assert len(caplog.records) == 1
    assert "reasoning parser" in caplog.text
    assert "secret" not in caplog.text


async def test_the_reward_model_sees_what_follows_the_thinking(ask: Ask) -> None:
    drawn = completion("<think>9 or 8?</think>\n\nanswer 1")
    policy = FakePolicy({0: Act((drawn,))}, thinking=ThinkingSettings())
    reward = FakeReward()
    selection = await run(ask(), policy, reward, n=1)
    assert reward.calls[0][0]["content"] == "answer 1"
    assert selection.winner.completion == drawn
    assert selection.winner.reward == 1.0


RECURSIVE = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "next": {"$ref": "#"}},
    "required": ["n"],
}


async def test_a_costly_schema_is_checked_aside_and_the_best_still_wins(
    ask: Ask, referee: Referee
) -> None:
    texts = ['{"n": 1}', '{"n": 2, "next": {"n": 3}}', '{"n": 9, "next": {"n": "9"}}', "{}"]
    policy = FakePolicy({i: Act((completion(text),)) for i, text in enumerate(texts)})
    request = ask(response_format={"type": "json_schema", "json_schema": {"schema": RECURSIVE}})
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=4), referee)
    selection = await strategy.run(request, policy, FakeReward(), Trace())
    assert selection.winners == (1,)
    assert [c.reason for c in selection.candidates] == [None, None, *["violates_schema"] * 2]
    assert selection.degraded == ()


DOUBLED: dict[str, Any] = {
    "$defs": {
        **{f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)},
        "d40": {"type": "object"},
    },
    "$ref": "#/$defs/d0",
}


async def test_what_cannot_be_checked_in_time_may_win_and_is_marked(
    ask: Ask, referee: Referee, caplog: pytest.LogCaptureFixture
) -> None:
    policy = FakePolicy({0: Act((completion('{"n": 7654321}'),)), 1: Act((completion("no"),))})
    request = ask(response_format={"type": "json_schema", "json_schema": {"schema": DOUBLED}})
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=2), referee)
    for _ in range(2):
        selection = await strategy.run(request, policy, FakeReward(), Trace())
        assert selection.winners == (0,)
        assert [c.reason for c in selection.candidates] == ["unchecked", "not_json"]
        assert selection.degraded == ("unchecked",)
    # The second time it is known.
    told = [r for r in caplog.records if r.name == "bon_gateway.schemas.checks"]
    assert len(told) == 1
    assert "7654321" not in caplog.text


async def test_a_check_that_outlasts_the_deadline_leaves_nothing_behind(ask: Ask) -> None:
    referee = Referee(schema_limit_s=20.0)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    called = completion(None, finish_reason="tool_calls", tool_calls=[call])
    policy = FakePolicy({0: Act((called,)), 1: Act((completion("answer 1"),))})
    tool = {"type": "function", "function": {"name": "f", "parameters": DOUBLED}}
    settings = BestOfNSettings(type="best_of_n", n=2, deadline_ms=200)
    before = asyncio.all_tasks()
    try:
        selection = await BestOfN(settings, referee).run(
            ask(tools=[tool]), policy, FakeReward(), Trace()
        )
    finally:
        await referee.close()
    assert selection.winners == (1,)
    assert selection.candidates[0].reason == "deadline"
    assert selection.degraded == ("deadline",)
    assert asyncio.all_tasks() == before


async def test_a_truncated_answer_wins_only_without_a_finished_one(ask: Ask) -> None:
    cut = Act((completion("answer 9", finish_reason="length"),))
    selection = await run(ask(), FakePolicy({0: cut}), FakeReward())
    assert selection.winners == (3,)
    selection = await run(ask(), FakePolicy(dict.fromkeys(range(4), cut)), FakeReward())
    assert selection.winners == (0,)


async def test_at_the_deadline_the_best_of_what_arrived_wins(ask: Ask) -> None:
    policy = FakePolicy({3: Act(tokens_so_far=7)})
    started = time.monotonic()
    selection = await run(ask(), policy, FakeReward(), deadline_ms=100)
    assert time.monotonic() - started < 2
    assert selection.winners == (2,)
    assert selection.degraded == ("deadline",)
    assert policy.aborted == {3}
    straggler = selection.candidates[3]
    assert (straggler.status, straggler.reason) == (CandidateStatus.REJECTED, "deadline")
    assert straggler.tokens == 7
    assert selection.usage.discarded_tokens == 6 + 7


async def test_fewer_than_min_candidates_at_the_deadline_is_an_error(ask: Ask) -> None:
    policy = FakePolicy({i: Act() for i in (1, 2, 3)})
    with pytest.raises(DeadlineError):
        await run(ask(), policy, FakeReward(), deadline_ms=50, min_candidates=2)
    assert policy.aborted == {1, 2, 3}


@pytest.mark.parametrize("acts", [{3: Act()}, {}])
async def test_a_reward_model_that_hangs_does_not_break_the_deadline(
    ask: Ask, acts: dict[int, Act]
) -> None:
    """Also if all candidates are there long before."""
    started = time.monotonic()
    selection = await run(ask(), FakePolicy(acts), FakeReward(delay=60), deadline_ms=50)
    assert time.monotonic() - started < 5
    assert selection.winners == (0,)
    assert selection.degraded == ("deadline", "reward_unavailable")


async def test_rewards_may_come_a_little_after_the_deadline(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "LEAST_SCORING_GRACE_S", 30)
    selection = await run(ask(), FakePolicy(), FakeReward(delay=0.02), deadline_ms=5)
    assert selection.winners == (3,)
    assert selection.degraded == ()


async def test_too_few_for_the_deadline_are_enough_without_one_cut(ask: Ask) -> None:
    """A candidate that failed is not late, however long scoring takes."""
    policy = FakePolicy({i: Act((BROKEN,)) for i in (1, 2, 3)})
    selection = await run(
        ask(), policy, FakeReward(delay=60), deadline_ms=50, min_candidates=2, retries=0
    )
    assert selection.winners == (0,)
    assert selection.degraded == ("deadline", "candidates_failed", "reward_unavailable")


async def test_reward_model_down_falls_back_to_the_first_and_says_so(ask: Ask) -> None:
    selection = await run(ask(), FakePolicy(), FakeReward(failures=99))
    assert selection.winners == (0,)
    assert selection.winner.reward is None
    assert selection.degraded == ("reward_unavailable",)


async def test_reward_model_down_is_an_error_where_that_is_declared(ask: Ask) -> None:
    with pytest.raises(RewardError):
        await run(ask(), FakePolicy(), FakeReward(failures=99), fallback="error")


async def test_scoring_is_tried_again_once(ask: Ask) -> None:
    reward = FakeReward(failures=1)
    selection = await run(ask(), FakePolicy(), reward)
    assert selection.winners == (3,)
    assert selection.degraded == ()
    assert [len(call) for call in reward.calls] == [4, 1, 1, 1, 1]


async def test_an_answer_that_cannot_be_scored_costs_no_reward_but_its_own(ask: Ask) -> None:
    def rule(message: Message) -> float:
        if message["content"] == "answer 2":
            raise RewardError("too long")
        return reward_of_digits(message)

    selection = await run(ask(), FakePolicy(), FakeReward(rule=rule))
    assert [c.reward for c in selection.candidates] == [0.0, 1.0, None, 3.0]
    assert selection.winners == (3,)
    assert selection.degraded == ("reward_unavailable",)


async def test_cancelling_stops_everything(ask: Ask) -> None:
    policy = FakePolicy({i: Act() for i in range(4)})
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=4))
    task = asyncio.create_task(strategy.run(ask(), policy, FakeReward(), Trace()))
    while policy.running < 4:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert policy.aborted == {0, 1, 2, 3}
    assert policy.running == 0


async def test_reasoning_is_not_shown_to_the_reward_model(ask: Ask) -> None:
    reward = FakeReward()
    thinking = Act((completion("7", reasoning_content="secret thoughts 999"),))
    await run(ask(), FakePolicy({0: thinking}), reward)
    assert all("reasoning_content" not in m for call in reward.calls for m in call)


async def test_a_conversation_is_announced_while_its_candidates_are_drawn(ask: Ask) -> None:
    reward = FakeReward(announces=True)
    request = ask()
    selection = await run(request, FakePolicy({0: Act((completion("answer 9"),), 0.02)}), reward)
    assert selection.winners == (0,)
    assert reward.announced == [request.messages]
    assert reward.withdrawn == 1, "nobody waits for it once all candidates are there"


async def test_an_announcement_ends_with_the_request(ask: Ask) -> None:
    reward = FakeReward(announces=True)
    task = asyncio.create_task(run(ask(), FakePolicy({0: Act()}), reward))
    while not reward.announced:
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait([task])
    assert reward.withdrawn == 1


async def test_nothing_is_announced_where_that_makes_no_difference(ask: Ask) -> None:
    reward = FakeReward()
    await run(ask(), FakePolicy(), reward)
    assert reward.announced == []
