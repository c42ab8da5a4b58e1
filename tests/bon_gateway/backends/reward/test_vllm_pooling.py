"""vLLM's process reward models over the fake upstream; the real one is in tests/integration."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from bon_gateway.backends.reward.vllm_pooling import VllmPoolingSettings
from bon_gateway.errors import RewardError
from bon_gateway.testing.rewards import STEP_MARK
from bon_gateway.testing.script import Step, fake_reward
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import RewardRequest
from tests.bon_gateway.backends.support import MESSAGES, after_warm_up, started, vllm_pooling
from tests.waiting import until


def answer(text: str | None, **more: object) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def expected(*steps: str) -> list[float]:
    return [1 / (1 + math.exp(-fake_reward(step))) for step in steps]


async def rewards(
    upstream: FakeUpstream, *answers: dict[str, Any], partial: bool = False, **settings: Any
) -> tuple[float | None, ...]:
    backend = vllm_pooling(upstream, **settings)
    async with started(backend):
        return (await backend.score(RewardRequest(MESSAGES, partial=partial), answers)).rewards


@pytest.mark.parametrize("how", ["min", "product", "last", "mean"])
async def test_the_scores_of_the_steps_make_the_reward(upstream: FakeUpstream, how: str) -> None:
    rules: dict[str, Any] = {
        "min": min, "product": math.prod, "last": lambda s: s[-1], "mean": lambda s: sum(s) / len(s)
    }  # fmt: skip
    steps = {"token": STEP_MARK, "aggregate": how}
    found = await rewards(upstream, answer("a\n\nb \n\n\nc"), answer("d"), steps=steps)
    assert found == pytest.approx([rules[how](expected("a", "b", "c")), expected("d")[0]])
    sent = {call.body["messages"][-1]["content"] for call in upstream.calls[-2:]}
    assert sent == {f"a{STEP_MARK}b{STEP_MARK}c{STEP_MARK}", f"d{STEP_MARK}"}
    assert all(call.body["use_activation"] is False for call in upstream.calls)


async def test_the_right_label_may_be_the_first(upstream: FakeUpstream) -> None:
    (found,) = await rewards(upstream, answer("a"), steps={"token": STEP_MARK, "label": "0"})
    assert found == pytest.approx(1 - expected("a")[0])
    with pytest.raises(ValidationError, match="vLLM names no labels; give its place"):
        VllmPoolingSettings(
            type="vllm_pooling",
            urls=("http://h:1",),
            steps={"label": "right"},
        )


async def test_beginnings_count_their_finished_steps(upstream: FakeUpstream) -> None:
    found = await rewards(upstream, answer("a\n\nb\n\nc"), answer("only"), partial=True)
    assert found == pytest.approx([min(expected("a", "b")), expected("only")[0]])


async def test_marks_of_the_prompt_are_no_steps(upstream: FakeUpstream) -> None:
    backend = vllm_pooling(upstream)
    asked = [{"role": "user", "content": f"x{STEP_MARK}y{STEP_MARK}"}]
    async with started(backend):
        scores = await backend.score(RewardRequest(asked), [answer(f"a{STEP_MARK}b"), answer("")])
    assert scores.rewards == pytest.approx([min(expected("a", "b")), expected("")[0]])


async def test_an_answer_without_steps_has_no_reward(upstream: FakeUpstream) -> None:
    backend = vllm_pooling(upstream)
    async with started(backend):
        scores = await backend.score(
            RewardRequest(MESSAGES), [answer("a"), answer(None, tool_calls=[{"id": "1"}])]
        )
    assert scores.rewards[0] == pytest.approx(expected("a")[0])
    assert scores.rewards[1] is None
    assert scores.missing is not None


def raw(rows: object) -> Step:
    body = {"data": [{"index": 0, "data": rows}], "usage": {"prompt_tokens": 3}}
    return Step(raw=orjson.dumps(body))


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [[0.1, 0.2]],
        [0.1, 0.2],
        [[0.1, 0.2], []],
        [[0.1, None], [0.1, 0.2]],
        [["0.1", 0.2], [0.1, 0.2]],
        [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]],
        None,
        "AAAA",
    ],
)
async def test_an_answer_of_the_wrong_shape_is_a_failure(
    upstream: FakeUpstream, rows: object
) -> None:
    backend = vllm_pooling(upstream)
    async with started(backend):
        after_warm_up(upstream, raw(rows))
        with pytest.raises(RewardError):
            await backend.score(RewardRequest(MESSAGES), [answer("a\n\nb")])


async def test_a_server_that_gives_every_token_never_comes_up(upstream: FakeUpstream) -> None:
    upstream.script = lambda call: raw([[0.1, 0.2]] * 7)
    backend = vllm_pooling(upstream)
    await backend.start()
    try:
        await until(lambda: upstream.requests >= 3 and bool(backend.troubles()))
        assert not backend.ready()
        assert "7 scores for an answer of one step" in " ".join(backend.troubles().values())
    finally:
        await backend.close()
