"""What is looked at and when, with a rule that does as the test says. Time is virtual."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import pytest

from bon_common.selection.pruning.rule import Standing
from bon_gateway.errors import PolicyFailedError, RewardError
from bon_gateway.protocols import Trace
from bon_gateway.replay.clock import VirtualLoop
from bon_gateway.strategies.checkpoints import Looking
from bon_gateway.strategies.draw import Draw, Drawn, Plan
from bon_gateway.strategies.validity import AnswerCheck
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion, reward_of_digits
from bon_gateway.types import CandidateStatus, ChatRequest, Completion, Message, Pruning, Sample

T = TypeVar("T")
REQUEST = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")


def virtual(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(asyncio.wait_for(work, 10_000))


@dataclass
class Stopping:
    """A rule that stops those that it is told to, and remembers how they stood."""

    chosen: Mapping[int, Collection[int]] = field(default_factory=dict)
    """By checkpoint."""
    seen: dict[int, Standing] = field(default_factory=dict)
    most: dict[int, int] = field(default_factory=dict)
    says_nothing: bool = False

    def __call__(self, checkpoint: int, standing: Standing, most: int) -> Sequence[int] | None:
        self.seen[checkpoint] = standing
        self.most[checkpoint] = most
        return None if self.says_nothing else [*self.chosen.get(checkpoint, ())]


def act(index: int, tokens: int = 100, **more: Any) -> Act:
    outcome = completion(f"answer {index}", tokens=tokens)
    return Act((outcome,), **{"token_s": 1.0, **more})


async def draw(
    policy: FakePolicy,
    rule: Stopping | None,
    *,
    drawn: int = 4,
    reward: FakeReward | None = None,
    checkpoints: Sequence[int] = (10, 20),
    request: ChatRequest = REQUEST,
    deadline: float | None = None,
    retries: int = 0,
    min_candidates: int = 1,
) -> Drawn:
    looking = Looking(Pruning.ON, drawn, checkpoints, rule)
    plan = Plan(drawn, drawn, deadline, min_candidates=min_candidates, retries=retries)
    check, trace = AnswerCheck(), Trace()
    reward = reward or FakeReward()
    return await Draw(request, policy, reward, plan, check, trace, looking=looking).run()


def told(drawn: Drawn) -> list[tuple[str, str | None, int]]:
    return [(c.status.value, c.reason, c.tokens) for c in drawn.candidates]


def policy_of(count: int = 4, **acts: Act) -> FakePolicy:
    return FakePolicy({i: acts.get(f"c{i}", act(i)) for i in range(count)})


def test_those_that_the_rule_names_are_stopped_and_the_others_end() -> None:
    policy, reward, rule = policy_of(), FakeReward(), Stopping({10: [0, 1], 20: [2]})
    drawn = virtual(draw(policy, rule, reward=reward))
    assert told(drawn) == [
        ("rejected", "pruned", 10),
        ("rejected", "pruned", 10),
        ("rejected", "pruned", 20),
        ("finished", None, 100),
    ]
    assert policy.aborted == {0, 1, 2}
    assert drawn.pruning is Pruning.ON
    assert [c.partial_rewards for c in drawn.candidates] == [
        ((10, 0.0),),
        ((10, 1.0),),
        ((10, 2.0), (20, 2.0)),
        ((10, 3.0), (20, 3.0)),
    ]
    assert [c.reward for c in drawn.candidates] == [None, None, None, 3.0]
    assert [len(call) for call in reward.calls] == [4, 2, 1]
    assert reward.partial == [True, True, False]
    assert drawn.reward_tokens == 70
    assert rule.seen[10] == Standing({i: float(i) for i in range(4)}, [], [0.0, 1.0, 2.0, 3.0])
    assert rule.seen[20] == Standing({2: 2.0, 3: 3.0}, [], [2.0, 3.0])
    assert rule.most == {10: 3, 20: 1}


def test_generation_goes_on_while_partial_answers_are_scored() -> None:
    rule = Stopping({10: [0]})
    drawn = virtual(draw(policy_of(), rule, reward=FakeReward(delay=5.0), checkpoints=(10, 12, 14)))
    assert drawn.candidates[0].reason == "pruned"
    assert drawn.candidates[0].tokens == 14
    assert [*rule.seen] == [10, 12, 14]


def test_what_was_scored_too_late_stops_nobody() -> None:
    rule = Stopping({10: [0]})
    drawn = virtual(draw(policy_of(), rule, reward=FakeReward(delay=500.0)))
    assert [c.status for c in drawn.candidates] == [CandidateStatus.FINISHED] * 4
    assert rule.seen == {}


def test_a_checkpoint_waits_for_the_slowest_that_runs() -> None:
    rule = Stopping({10: [1]})
    slow = act(3, token_s=3.0)
    drawn = virtual(draw(policy_of(c3=slow), rule))
    assert rule.seen[10].running.keys() == {0, 1, 2, 3}
    assert drawn.candidates[1].tokens == 20


def test_one_that_has_ended_is_the_incumbent_and_is_waited_for_no_more() -> None:
    rule = Stopping({20: [1, 2, 3]})
    drawn = virtual(draw(policy_of(c0=act(0, tokens=15)), rule))
    assert rule.seen[10] == Standing({i: float(i) for i in range(4)}, [], [0.0, 1.0, 2.0, 3.0])
    assert rule.seen[20] == Standing({1: 1.0, 2: 2.0, 3: 3.0}, [], [1.0, 2.0, 3.0], incumbent=0.0)
    # One has ended and may win, so all others may be stopped.
    assert rule.most[20] == 3
    assert [c.status.value for c in drawn.candidates] == ["finished"] + ["rejected"] * 3


def test_one_whose_final_reward_is_not_known_yet_is_a_rival() -> None:
    rule = Stopping()
    virtual(draw(policy_of(c0=act(0, tokens=25)), rule, reward=FakeReward(delay=9.0)))
    passed = [0.0, 1.0, 2.0, 3.0]
    assert rule.seen[20] == Standing({1: 1.0, 2: 2.0, 3: 3.0}, [0.0], passed)


def test_one_that_was_cut_is_no_incumbent_and_no_rival() -> None:
    cut = Act((completion("answer 9", tokens=15, finish_reason="length"),), token_s=1.0)
    rule = Stopping()
    virtual(draw(policy_of(c0=cut), rule))
    assert (rule.seen[20].incumbent, rule.seen[20].others) == (None, [])


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [4], [0, 0, 1, 2]])
def test_a_rule_at_fault_stops_nobody_and_the_answer_says_so(chosen: list[int]) -> None:
    rule = Stopping({10: chosen, 20: [0]})
    drawn = virtual(draw(policy_of(), rule, checkpoints=(10,)))
    assert [c.status for c in drawn.candidates] == [CandidateStatus.FINISHED] * 4
    assert drawn.pruning is Pruning.FAULT


@pytest.mark.parametrize("who", ["client", "operator"])
def test_as_many_are_left_as_are_wanted(who: str) -> None:
    rule = Stopping({10: [0, 1, 2]})
    more: dict[str, Any] = {"min_candidates": 2}
    if who == "client":
        more = {"request": msgspec.structs.replace(REQUEST, top=2)}
    drawn = virtual(draw(policy_of(), rule, **more))
    assert rule.most[10] == 2
    assert drawn.pruning is Pruning.FAULT
    assert [c.status for c in drawn.candidates] == [CandidateStatus.FINISHED] * 4


def no_number(message: Message) -> float:
    return math.nan


def fails_early(message: Message) -> float:
    raise RewardError("down")


@pytest.mark.parametrize("partial", [no_number, fails_early])
def test_without_partial_rewards_nobody_is_stopped_and_the_answer_says_so(partial: Any) -> None:
    def rule_of(message: Message) -> float:
        return partial(message) if message["content"] == "half" else reward_of_digits(message)

    acts = {i: act(i, partials={10: "half", 20: "half"}) for i in range(4)}
    rule = Stopping({10: [0], 20: [0]})
    drawn = virtual(draw(FakePolicy(acts), rule, reward=FakeReward(rule=rule_of)))
    assert rule.seen == {}
    assert drawn.pruning is Pruning.SILENT
    assert [c.reward for c in drawn.candidates] == [0.0, 1.0, 2.0, 3.0]
    assert drawn.reward_errors == ()


def test_a_rule_to_which_partial_rewards_say_nothing() -> None:
    drawn = virtual(draw(policy_of(), Stopping(says_nothing=True)))
    assert drawn.pruning is Pruning.SILENT


def test_some_unknown_partial_rewards_make_rivals() -> None:
    acts = {i: act(i, partials={10: " "} if i == 1 else {}) for i in range(3)}
    reward, rule = FakeReward(), Stopping()
    virtual(draw(FakePolicy(acts), rule, drawn=3, reward=reward, checkpoints=(10,)))
    assert rule.seen[10] == Standing({0: 0.0, 2: 2.0}, [None], [0.0, 2.0])
    assert len(reward.calls[0]) == 2, "an answer without a word is not scored"


def test_equal_partial_answers_are_scored_once() -> None:
    acts = {i: act(i, partials={10: "answer 5"}) for i in range(4)}
    reward, rule = FakeReward(), Stopping()
    virtual(draw(FakePolicy(acts), rule, reward=reward, checkpoints=(10,)))
    assert len(reward.calls[0]) == 1
    assert rule.seen[10].running == dict.fromkeys(range(4), 5.0)


def test_without_a_rule_it_only_looks() -> None:
    drawn = virtual(draw(policy_of(), None))
    assert [c.partial_rewards for c in drawn.candidates] == [
        ((10, float(i)), (20, float(i))) for i in range(4)
    ]
    assert [c.status for c in drawn.candidates] == [CandidateStatus.FINISHED] * 4


def test_answers_that_end_before_a_checkpoint_are_not_seen() -> None:
    acts = {i: act(i, tokens=10) for i in range(4)}
    drawn = virtual(draw(FakePolicy(acts), Stopping({10: [0]})))
    assert drawn.pruning is Pruning.UNSEEN


def test_a_candidate_that_failed_is_waited_for_no_more() -> None:
    failed = Act((PolicyFailedError("broken"),))
    rule = Stopping({10: [1]})
    drawn = virtual(draw(policy_of(c0=failed), rule))
    assert rule.seen[10].running.keys() == {1, 2, 3}
    assert [c.status.value for c in drawn.candidates][:2] == ["failed", "rejected"]


def test_a_candidate_that_is_drawn_again_is_neither_waited_for_nor_stopped() -> None:
    again = Act((PolicyFailedError("broken"), completion("answer 0", tokens=500)), token_s=1.0)
    rule = Stopping({10: [1, 2, 3]})
    drawn = virtual(draw(policy_of(c0=again), rule, retries=1))
    assert rule.seen[10] == Standing({1: 1.0, 2: 2.0, 3: 3.0}, [None], [1.0, 2.0, 3.0])
    assert told(drawn)[0] == ("finished", None, 500)
    assert [c.reason for c in drawn.candidates[1:]] == ["pruned"] * 3
    assert set(rule.seen) == {10}


@pytest.mark.parametrize("late", [completion("answer 99", tokens=13), PolicyFailedError("late")])
def test_a_late_report_does_not_change_a_stopped_candidate(
    late: Completion | PolicyFailedError,
) -> None:
    class Stubborn(FakePolicy):
        """Reports a candidate although it was stopped."""

        async def _play(self, request: Any, index: int, report: Any, trace: Trace) -> None:
            try:
                await FakePolicy._play(self, request, index, report, trace)
            except asyncio.CancelledError:
                trace.tokens[index] = 13
                report(Sample(index, late))

    drawn = virtual(draw(Stubborn({i: act(i) for i in range(3)}), Stopping({10: [0]}), drawn=3))
    assert told(drawn)[0] == ("rejected", "pruned", 13)
    assert drawn.candidates[0].reward is None


def test_the_deadline_cuts_what_runs_and_pruned_ones_stay_pruned() -> None:
    rule = Stopping({10: [0]})
    drawn = virtual(draw(policy_of(c1=act(1, tokens=20)), rule, deadline=50.0))
    assert [c.reason for c in drawn.candidates] == ["pruned", None, "deadline", "deadline"]
    assert drawn.deadline_passed


def test_a_client_that_leaves_ends_all() -> None:
    async def work() -> tuple[FakePolicy, FakeReward]:
        policy, reward = policy_of(), FakeReward(delay=20.0)
        task = asyncio.create_task(draw(policy, Stopping(), reward=reward))
        await asyncio.sleep(15.0)
        assert len(reward.calls) == 1, "a partial answer is being scored"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return policy, reward

    policy, reward = virtual(work())
    assert policy.running == 0
    assert policy.aborted == {0, 1, 2, 3}
    assert len(reward.calls) == 1
