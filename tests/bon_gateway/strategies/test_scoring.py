"""What is asked of a reward model that refuses, or that is not there: nothing twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bon_gateway.errors import (
    NoRewardError,
    RewardError,
    RewardRefusedError,
)
from bon_gateway.protocols import RewardBackend, Strategy, Trace
from bon_gateway.strategies.best_of_n import BestOfN, BestOfNSettings
from bon_gateway.strategies.first_k import FirstK, FirstKSettings
from bon_gateway.strategies.good_enough import GoodEnoughSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion, reward_of_digits
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import ChatRequest, Message, RewardRequest, Scores, Selection
from tests.bon_gateway.backends.support import after_warm_up, reward_server, started, vllm_classify
from tests.waiting import until

N = 4
Backends = Callable[..., Any]


async def run(
    reward: RewardBackend, policy: FakePolicy | None = None, **settings: Any
) -> Selection:
    request = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=N, **settings))
    return await strategy.run(request, policy or FakePolicy(), reward, Trace())


def refused(param: str = "items[0].messages", status: int = 400, **error: Any) -> Step:
    return Step(status=status, error={"message": "secret words", "param": param, **error})


def answers_of(call: Call) -> list[str]:
    return [answer["content"] for answer in call.body["items"][0]["completions"]]


@pytest.mark.parametrize("status", [400, 413, 422, 401, 403, 404, 405])
async def test_a_4xx_of_a_reward_server_is_asked_for_once(status: int) -> None:
    async with FakeUpstream() as one, FakeUpstream() as other:
        backend = reward_server(one, other)
        async with started(backend):
            for upstream in (one, other):
                after_warm_up(upstream, refused(status=status))
            selection = await run(backend, retries=3)
            asked = [answers_of(call) for call in (*one.calls, *other.calls)]
    refuses = status in (400, 413, 422)
    assert selection.degraded == (("reward_refused",) if refuses else ("reward_unavailable",))
    assert selection.winners == (0,)
    whole = [f"answer {i}" for i in range(N)]
    if status == 413:
        # Less in one body may pass, and each of these is asked for once.
        assert sorted(asked, key=lambda texts: (len(texts), texts)) == [
            *([text] for text in whole),
            whole,
        ]
    else:
        assert asked == [whole]


@pytest.mark.parametrize("status", [400, 413, 401])
async def test_a_4xx_of_vllm_is_asked_for_once_for_each_answer(status: int) -> None:
    async with FakeUpstream() as one, FakeUpstream() as other:
        backend = vllm_classify(one, other)
        async with started(backend):
            for upstream in (one, other):
                after_warm_up(upstream, refused("input_tokens", status))
            selection = await run(backend, retries=3)
            asked = [c.body["messages"][-1]["content"] for c in (*one.calls, *other.calls)]
    assert selection.winner.reward is None
    assert len(asked) == len(set(asked)) <= N


async def test_vllm_refuses_one_answer_and_scores_the_rest() -> None:
    def script(call: Call) -> Step:
        last = call.body["messages"][-1]["content"]
        return refused("input_tokens") if last == "answer 2" else Step(reward=1.0)

    async with FakeUpstream() as upstream:
        backend = vllm_classify(upstream)
        async with started(backend):
            after_warm_up(upstream, script)
            selection = await run(backend)
            assert upstream.requests == N
    assert [c.reward for c in selection.candidates] == [1.0, 1.0, None, 1.0]
    assert selection.degraded == ("reward_refused",)


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_an_answer_that_is_refused_costs_no_other_its_reward(retries: int) -> None:
    """The reward server names the first that it cannot read; the others are asked for alone."""
    too_long = {"answer 1", "answer 3"}

    def script(call: Call) -> Step:
        for place, text in enumerate(answers_of(call)):
            if text in too_long:
                return refused(f"items[0].completions[{place}]", code="context_length_exceeded")
        return Step(reward=1.0)

    async with FakeUpstream() as upstream:
        backend = reward_server(upstream)
        async with started(backend):
            after_warm_up(upstream, script)
            selection = await run(backend, retries=retries)
            asked = [answers_of(call) for call in upstream.calls]
    assert [c.reward for c in selection.candidates] == [1.0, None, 1.0, None]
    assert selection.degraded == ("reward_refused",)
    assert asked[0] == [f"answer {i}" for i in range(N)]
    assert sorted(asked[1:]) == [["answer 0"], ["answer 2"], ["answer 3"]]


@pytest.mark.parametrize("code", ["too_many_sequences", "too_many_tokens"])
async def test_too_many_at_once_are_asked_for_alone(code: str) -> None:
    def script(call: Call) -> Step:
        return refused("items", code=code) if len(answers_of(call)) > 1 else Step(reward=1.0)

    async with FakeUpstream() as upstream:
        backend = reward_server(upstream)
        async with started(backend):
            after_warm_up(upstream, script)
            selection = await run(backend, retries=0)
            assert upstream.requests == 1 + N
    assert selection.degraded == ()


async def test_a_refused_conversation_is_not_asked_about_again() -> None:
    """Also not for answers that come later."""
    acts = {3: Act((completion("answer 3"),), delay=0.1)}

    def refuse(message: Message) -> float:
        raise RewardRefusedError("no")

    reward = FakeReward(rule=refuse)
    selection = await run(reward, FakePolicy(acts))
    assert [len(call) for call in reward.calls] == [3]
    assert selection.degraded == ("reward_refused",)


async def test_an_answer_that_was_refused_is_not_asked_about_again() -> None:
    acts = {3: Act((completion("answer 0"),), delay=0.1), 2: Act((completion("answer 9"),), 0.1)}

    def refuse(message: Message) -> float:
        if message["content"] == "answer 0":
            raise RewardRefusedError("no", answer=0)
        return reward_of_digits(message)

    reward = FakeReward(rule=refuse)
    selection = await run(reward, FakePolicy(acts))
    texts = [[message["content"] for message in call] for call in reward.calls]
    assert texts == [["answer 0", "answer 1"], ["answer 1"], ["answer 9"]]
    assert [c.reward for c in selection.candidates] == [None, 1.0, 9.0, None]


async def test_none_up_is_asked_once_and_told_why() -> None:
    class Counted:
        """Counts what is asked of a backend."""

        def __init__(self, backend: Any) -> None:
            self._backend = backend
            self.asked = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._backend, name)

        async def score(self, *args: Any, **named: Any) -> Any:
            self.asked += 1
            return await self._backend.score(*args, **named)

    async with FakeUpstream() as upstream:
        backend = reward_server(upstream)
        async with started(backend):
            upstream.healthy = False
            await until(lambda: not backend.ready())
            upstream.requests = 0
            with pytest.raises(NoRewardError, match=r"No upstream is up. Its health is 503."):
                await backend.score(RewardRequest([]), [{"role": "assistant", "content": "x"}])
            counted: Any = Counted(backend)
            selection = await run(counted, retries=5)
            assert counted.asked == 1
            with pytest.raises(NoRewardError, match=r"none is up. Its health is 503.") as none:
                await run(counted, fallback="error")
    assert selection.degraded == ("reward_unavailable",)
    assert (none.value.status, none.value.code) == (503, "reward_unavailable")
    assert upstream.requests == 0


@pytest.mark.parametrize("kind", [BestOfN, FirstK])
async def test_nothing_is_drawn_for_a_reward_model_that_is_down_and_must_not_be(
    kind: Callable[..., Strategy],
) -> None:
    request = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")
    of_kind: dict[Any, Any] = {BestOfN: BestOfNSettings(type="best_of_n", n=N, fallback="error"),
               FirstK: FirstKSettings(type="first_k", n=N, fallback="error")}  # fmt: skip
    strategy = kind(of_kind[kind])
    policy, down = FakePolicy(), FakeReward(is_ready=False)
    with pytest.raises(NoRewardError, match=r"none is up. It was told to be down.") as caught:
        await strategy.run(request, policy, down, Trace())
    assert (caught.value.status, caught.value.retry_after) == (503, 1.0)
    assert not policy.attempts
    await strategy.run(request, policy, FakeReward(), Trace())
    assert policy.attempts


async def test_where_the_first_will_do_a_reward_model_may_come_back_meanwhile() -> None:
    selection = await run(FakeReward(is_ready=False))
    assert (selection.winners, selection.degraded) == ((3,), ())


async def test_what_may_pass_is_tried_again() -> None:
    reward = FakeReward(failures=1)
    selection = await run(reward)
    assert [len(call) for call in reward.calls] == [4, 1, 1, 1, 1]
    assert selection.degraded == ()


async def test_a_refusal_has_its_own_status() -> None:
    def refuse(message: Message) -> float:
        raise RewardRefusedError("no")

    with pytest.raises(RewardRefusedError) as caught:
        await run(FakeReward(rule=refuse), fallback="error")
    assert (caught.value.status, caught.value.code) == (422, "reward_refused")
    assert caught.value.retry_after is None


async def test_both_losses_are_told_and_the_one_that_may_pass_is_the_error() -> None:
    def rule(message: Message) -> float:
        if message["content"] == "answer 0":
            raise RewardRefusedError("no", answer=0)
        raise RewardError("down")

    selection = await run(FakeReward(rule=rule))
    assert selection.degraded == ("reward_unavailable", "reward_refused")
    with pytest.raises(RewardError) as caught:
        await run(FakeReward(rule=rule), fallback="error")
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (refused(), [{"code": "reward_refused", "answers": N}]),
        (Step(status=500), [{"code": "reward_unavailable", "answers": N}]),
    ],
)
async def test_missing_rewards_are_one_line_of_the_log(
    step: Step, told: Sequence[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with FakeUpstream() as upstream:
        backend = reward_server(upstream, failures_to_eject=100)
        async with started(backend):
            after_warm_up(upstream, step)
            await run(backend)
    lines = [r for r in caplog.records if r.getMessage() == "rewards are missing"]
    assert len(lines) == 1
    fields = lines[0].__dict__["fields"]
    assert fields["request_id"] == "request"
    assert [{k: reason[k] for k in ("code", "answers")} for reason in fields["reasons"]] == told
    assert all(reason["reason"] for reason in fields["reasons"])
    assert "secret" not in caplog.text + str(fields)
    assert "answer 0" not in caplog.text + str(fields)


async def test_nothing_is_logged_where_nothing_is_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    await run(FakeReward(failures=1))
    assert not [r for r in caplog.records if r.getMessage() == "rewards are missing"]


async def test_all_calls_for_one_request_are_about_the_same_object() -> None:
    """What a reward model keeps for a request must hold for all its candidates, in every wave."""
    asked: list[RewardRequest] = []

    class Remembering(FakeReward):
        async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
            asked.append(request)
            return await FakeReward.score(self, request, completions)

    settings = GoodEnoughSettings(type="good_enough", n=4, wave=2, threshold=99.0)
    request = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")
    for _ in range(2):
        await settings.build(Referee()).run(request, FakePolicy(), Remembering(), Trace())
    first, again, second, last = asked
    assert first is again
    assert second is last
    assert first is not second
