"""All answers in one call of vLLM's, over a scripted judge."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from bon_gateway.backends.reward.judge.prompt import Prompt
from bon_gateway.backends.reward.judge.settings import JudgeSettings
from bon_gateway.errors import RewardError, RewardRefusedError
from bon_gateway.testing.judges import Chances, FakeJudge, fenced
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import RewardRequest, Scores
from tests.bon_gateway.backends.support import MESSAGES, after_warm_up, judge, started
from tests.waiting import until

GRADES: dict[str, Chances] = {
    "good": {"A": 0.1, "B": 0.2, "C": 0.6},
    "fair": {"A": 0.1, "B": 0.4, "C": 0.1},
    "poor": {"A": 0.3, "Well": 0.7},
}
THREE: dict[str, Any] = {"type": "generative_scoring", "levels": 3}


def by_answer(prompt: str) -> Chances:
    return GRADES.get(fenced(prompt)[0], {"B": 1.0})


async def judged(
    upstream: FakeUpstream, fake: FakeJudge, texts: list[str], method: Any, **settings: Any
) -> Scores:
    upstream.script = FakeJudge(by_answer)
    backend = judge(upstream, method=method, **settings)
    async with started(backend):
        after_warm_up(upstream, fake)
        answers = [{"role": "assistant", "content": text} for text in texts]
        return await backend.score(RewardRequest(MESSAGES), answers)


async def test_it_gives_what_pointwise_gives_in_fewer_calls(upstream: FakeUpstream) -> None:
    texts = ["poor", "good", "fair"]
    scored = await judged(upstream, FakeJudge(by_answer), texts, THREE)
    paths = [call.path for call in upstream.calls]
    assert paths.count("/generative_scoring") == 2
    assert paths.count("/tokenize") == 3 + 3
    asked = await judged(upstream, FakeJudge(by_answer), texts, {**THREE, "type": "pointwise"})
    assert scored.rewards == pytest.approx(asked.rewards)
    assert scored.judging is not None
    assert (scored.judging.calls, scored.judging.completion_tokens) == (2, 6)


async def test_criteria_are_in_the_same_call(upstream: FakeUpstream) -> None:
    def rule(prompt: str) -> Chances:
        return {"B": 1.0} if "Right?" in prompt else by_answer(prompt)

    criteria = [{"text": "Right?", "weight": 3}, {"text": "Clear?"}]
    method = {**THREE, "levels": 2, "criteria": criteria}
    scores = await judged(upstream, FakeJudge(rule), ["poor", "fair"], method)
    assert scores.rewards == pytest.approx((3 / 4, (3 + 0.8) / 4))
    assert [call.path for call in upstream.calls].count("/generative_scoring") == 1


async def test_what_would_be_cut_has_no_reward(upstream: FakeUpstream) -> None:
    """vLLM cuts a prompt at its end without a word, where the question is."""
    fake = FakeJudge(by_answer, context=3000)
    scores = await judged(upstream, fake, ["good", "x" * 3000], THREE)
    assert scores.rewards[0] == pytest.approx(7 / 9)
    assert scores.rewards[1] is None
    assert isinstance(scores.missing, RewardRefusedError)


@pytest.mark.parametrize(
    "broken",
    [
        {"data": []},
        {"data": [{"score": 0.5}]},
        {"data": [{"score": 0.5}, {"score": 2}]},
        {"data": [{"score": 0.5}, {"score": None}]},
        {"data": [{"score": 0.5}, None]},
        {},
    ],
)
async def test_a_broken_answer_costs_all_rewards(upstream: FakeUpstream, broken: Any) -> None:
    fake = FakeJudge(lambda prompt: Step(raw=orjson.dumps(broken)))
    scores = await judged(upstream, fake, ["good", "poor"], THREE)
    assert scores.rewards == (None, None)
    assert isinstance(scores.missing, RewardError)


async def test_a_server_without_the_path_does_not_come_up(upstream: FakeUpstream) -> None:
    upstream.script = None
    backend = judge(upstream, method=THREE)
    await backend.start()
    try:
        await until(backend.troubles)
        assert "(404)" in next(iter(backend.troubles().values()))
    finally:
        await backend.close()


async def test_the_template_of_the_settings_is_used(upstream: FakeUpstream) -> None:
    kwargs = {"enable_thinking": False}
    sampling = {"chat_template_kwargs": kwargs}
    await judged(upstream, FakeJudge(by_answer), ["good"], THREE, sampling=sampling)
    [asked] = [call.body for call in upstream.calls if "messages" in call.body]
    assert asked["chat_template_kwargs"] == kwargs


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"sampling": {"max_tokens": 4}},
            "sampling.max_tokens: generative_scoring samples nothing",
        ),
        ({"sampling": {"temperature": 1}}, "sampling.temperature: generative_scoring samples"),
        ({"thinking": {}}, "thinking: with generative_scoring the judge cannot think"),
    ],
)
def test_what_it_would_ignore_is_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JudgeSettings(type="judge", urls=("http://judge",), method=THREE, **settings)


async def test_grades_that_are_one_token_are_no_grades(upstream: FakeUpstream) -> None:
    """A tokenizer without these letters reads all of them as unknown."""

    def unknown(call: Call) -> Step:
        if call.path == "/tokenize" and "prompt" in call.body:
            return Step(raw=orjson.dumps({"tokens": [0], "max_model_len": 100_000}))
        return FakeJudge(by_answer)(call)

    upstream.script = FakeJudge(by_answer)
    backend = judge(upstream, method=THREE)
    async with started(backend):
        after_warm_up(upstream, unknown)
        with pytest.raises(RewardError, match="one token"):
            await backend.score(RewardRequest(MESSAGES), [{"role": "assistant", "content": "a"}])


async def test_prompts_are_made_when_it_is_their_turn(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together the prompts of all answers and criteria may be large."""
    gate, made, render = asyncio.Event(), [], Prompt.render
    fake = FakeJudge(by_answer)

    def counted(prompt: Prompt, variables: Mapping[str, Any]) -> str:
        made.append(variables)
        return render(prompt, variables)

    def held(call: Call) -> Step:
        step = fake(call)
        return replace(step, hold=gate) if "messages" in call.body else step

    upstream.script = FakeJudge(by_answer)
    backend = judge(upstream, method=THREE, at_once=2)
    answers = [{"role": "assistant", "content": f"answer {i}"} for i in range(6)]
    async with started(backend):
        after_warm_up(upstream, held)
        monkeypatch.setattr(Prompt, "render", counted)
        task = asyncio.create_task(backend.score(RewardRequest(MESSAGES), answers))
        await until(lambda: upstream.running == 2)
        assert len(made) == 2
        gate.set()
        scores = await task
    assert None not in scores.rewards
    assert len(made) == 6
