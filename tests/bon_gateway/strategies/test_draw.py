"""Drawing in waves: what holds for candidates that are drawn at once holds over several waves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from bon_gateway.errors import DeadlineError, PolicyFailedError, RewardError
from bon_gateway.protocols import Trace
from bon_gateway.strategies import draw as drawing
from bon_gateway.strategies.draw import Draw, Drawn, Plan
from bon_gateway.strategies.validity import AnswerCheck
from bon_gateway.strategies.waves import NextWave
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Message, Stopped
from tests.waiting import until

Ask = Callable[..., ChatRequest]
BROKEN = PolicyFailedError("broken")


@dataclass
class Script:
    """Draws these waves, then stops."""

    waves: Sequence[int]
    seen: list[list[float | None]] = field(default_factory=list)
    """The rewards that it was shown before each wave and at the end."""

    async def __call__(self, candidates: Sequence[Candidate]) -> NextWave:
        self.seen.append([candidate.reward for candidate in candidates])
        done = len(self.seen) > len(self.waves)
        return NextWave(0 if done else self.waves[len(self.seen) - 1], Stopped.PRICE)


async def draw(
    request: ChatRequest,
    policy: FakePolicy,
    reward: FakeReward,
    rule: Script,
    *,
    deadline: float | None = None,
    min_candidates: int = 1,
) -> Drawn:
    cap = sum(rule.waves)
    plan = Plan(cap, cap, deadline, min_candidates, retries=1)
    before = asyncio.all_tasks()
    try:
        return await Draw(
            request, policy, reward, plan, AnswerCheck.anything(), Trace(), rule
        ).run()
    finally:
        assert policy.running == 0
        assert asyncio.all_tasks() == before


@pytest.mark.parametrize("deadline", [None, 60.0])
async def test_the_rule_sees_what_is_scored_and_decides(ask: Ask, deadline: float | None) -> None:
    policy, rule = FakePolicy(), Script([2, 3, 1])
    drawn = await draw(ask(), policy, FakeReward(), rule, deadline=deadline)
    assert rule.seen == [[], [0.0, 1.0], [0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]
    assert [candidate.index for candidate in drawn.candidates] == [0, 1, 2, 3, 4, 5]
    assert (drawn.rounds, drawn.stopped, drawn.deadline_passed) == (3, Stopped.PRICE, False)
    assert drawn.reward_tokens == 60
    assert dict(policy.attempts) == dict.fromkeys(range(6), 1)


async def test_a_candidate_has_its_own_index_and_so_its_seed_in_every_wave(ask: Ask) -> None:
    outcomes = []
    for waves in ([4], [1, 2, 1]):
        drawn = await draw(ask(seed=5), FakePolicy(), FakeReward(), Script(waves))
        outcomes.append([(c.index, c.completion, c.reward) for c in drawn.candidates])
    assert outcomes[0] == outcomes[1]


async def test_a_failed_candidate_is_drawn_again_before_the_next_wave(ask: Ask) -> None:
    policy = FakePolicy({1: Act((BROKEN, completion("answer 9"))), 3: Act((BROKEN,))})
    rule = Script([2, 2, 1])
    drawn = await draw(ask(), policy, FakeReward(), rule)
    assert rule.seen[1:] == [[0.0, 9.0], [0.0, 9.0, 2.0, None], [0.0, 9.0, 2.0, None, 4.0]]
    assert drawn.candidates[3].status is CandidateStatus.FAILED
    assert dict(policy.attempts) == {0: 1, 1: 2, 2: 1, 3: 2, 4: 1}


async def test_equal_answers_of_two_waves_are_scored_once(ask: Ask) -> None:
    same = Act((completion("7 of 7"),))
    reward = FakeReward()
    drawn = await draw(ask(), FakePolicy({0: same, 2: same}), reward, Script([2, 2]))
    assert sum(map(len, reward.calls)) == 3
    assert [c.reward for c in drawn.candidates] == [77.0, 1.0, 77.0, 3.0]


async def test_the_deadline_cuts_the_wave_that_runs(ask: Ask) -> None:
    policy = FakePolicy({3: Act(tokens_so_far=7)})
    drawn = await draw(ask(), policy, FakeReward(), Script([2, 2, 2]), deadline=0.5)
    assert (drawn.rounds, drawn.stopped, drawn.deadline_passed) == (2, Stopped.DEADLINE, True)
    assert [c.reward for c in drawn.candidates] == [0.0, 1.0, 2.0, None]
    late = drawn.candidates[3]
    assert (late.status, late.reason, late.tokens) == (CandidateStatus.REJECTED, "deadline", 7)
    assert policy.aborted == {3}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring may take long after the deadline."""
    monkeypatch.setattr(drawing, "LEAST_SCORING_GRACE_S", 30)


@pytest.mark.usefixtures("patient")
async def test_no_wave_begins_after_the_deadline(ask: Ask) -> None:
    """It passes while the first wave is scored, and the rule wants another."""
    policy, reward = FakePolicy(), FakeReward(delay=0.6)
    drawn = await draw(ask(), policy, reward, Script([2, 2]), deadline=0.3)
    assert (drawn.rounds, drawn.stopped, drawn.deadline_passed) == (1, Stopped.DEADLINE, True)
    assert [c.reward for c in drawn.candidates] == [0.0, 1.0]


@pytest.mark.usefixtures("patient")
async def test_a_deadline_that_nobody_waits_for_any_more_is_none(ask: Ask) -> None:
    drawn = await draw(ask(), FakePolicy(), FakeReward(delay=0.6), Script([2]), deadline=0.3)
    assert (drawn.stopped, drawn.deadline_passed) == (Stopped.PRICE, False)


async def test_a_wave_without_its_rewards_is_the_last(ask: Ask) -> None:
    """The rule must not decide on rewards that the deadline cut off."""
    rule = Script([2, 2])
    drawn = await draw(ask(), FakePolicy(), FakeReward(delay=60), rule, deadline=0.1)
    assert (drawn.rounds, drawn.stopped, drawn.deadline_passed) == (1, Stopped.DEADLINE, True)
    assert [(c.status, c.reward) for c in drawn.candidates] == [
        (CandidateStatus.FINISHED, None)
    ] * 2


async def test_too_few_at_the_deadline_are_an_error(ask: Ask) -> None:
    rule = Script([2, 4])
    policy = FakePolicy({i: Act() for i in range(2, 6)})
    with pytest.raises(DeadlineError, match="2 of the 3"):
        await draw(ask(), policy, FakeReward(), rule, deadline=0.5, min_candidates=3)


async def test_cancelling_aborts_the_wave_that_runs(ask: Ask) -> None:
    policy, rule = FakePolicy({2: Act(), 3: Act()}), Script([2, 2])
    task = asyncio.create_task(draw(ask(), policy, FakeReward(), rule))
    await until(lambda: policy.running == 2 and len(rule.seen) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert policy.aborted == {2, 3}


async def test_a_lost_reward_is_told_once_whatever_wave_lost_it(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    def rule(message: Message) -> float:
        if message["content"] in ("answer 0", "answer 3"):
            raise RewardError("too long")
        return 1.0

    caplog.set_level("INFO")
    drawn = await draw(ask(), FakePolicy(), FakeReward(rule=rule), Script([2, 2]))
    assert [c.reward for c in drawn.candidates] == [None, 1.0, 1.0, None]
    assert [error.loss for error in drawn.reward_errors] == ["reward_unavailable"]
    assert len([r for r in caplog.records if r.message == "rewards are missing"]) == 1


async def test_the_times_are_the_sums_over_the_waves(ask: Ask) -> None:
    policy = FakePolicy({i: Act((completion(f"answer {i}"),), delay=0.05) for i in range(4)})
    drawn = await draw(ask(), policy, FakeReward(delay=0.04), Script([2, 2]))
    assert drawn.timings.generate >= 0.09
    assert drawn.timings.score >= 0.07
