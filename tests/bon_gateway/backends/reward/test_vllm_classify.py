from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from bon_gateway.errors import RewardError
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import RewardRequest
from tests.bon_gateway.backends.support import MESSAGES, after_warm_up, started, vllm_classify
from tests.waiting import until

COMPLETIONS: list[dict[str, Any]] = [
    {"role": "assistant", "content": "one", "refusal": None},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]},
]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


async def test_one_conversation_a_request(upstream: FakeUpstream) -> None:
    backend = vllm_classify(upstream)
    async with started(backend):
        after_warm_up(upstream, Step())
        await backend.score(RewardRequest(MESSAGES), COMPLETIONS)
    bodies = [call.body for call in upstream.calls]
    # They are sent side by side, so they arrive in any order.
    bodies.sort(key=lambda body: body["messages"][-1]["content"] is None)
    assert [body["messages"] for body in bodies] == [
        [*MESSAGES, {"role": "assistant", "content": "one"}],
        [*MESSAGES, COMPLETIONS[1]],
    ]
    assert all(body["use_activation"] is False for body in bodies)
    assert all(body["model"] == upstream.model for body in bodies)
    assert all("chat_template_kwargs" not in body for body in bodies)


async def test_tools_reach_the_chat_template(upstream: FakeUpstream) -> None:
    backend = vllm_classify(upstream)
    async with started(backend):
        await backend.score(RewardRequest(MESSAGES, tools=TOOLS), COMPLETIONS[:1])
    assert upstream.calls[-1].body["chat_template_kwargs"] == {"tools": TOOLS}


async def test_conversations_are_scored_side_by_side(upstream: FakeUpstream) -> None:
    gate = asyncio.Event()
    backend = vllm_classify(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(hold=gate))
        task = asyncio.create_task(backend.score(RewardRequest(MESSAGES), COMPLETIONS * 4))
        await until(lambda: upstream.running == 8)
        gate.set()
        assert len((await task).rewards) == 8


async def test_the_first_failure_stops_the_others(upstream: FakeUpstream) -> None:
    never = asyncio.Event()

    def script(call: Call) -> Step:
        # The last to arrive, so that the others are there to be stopped.
        return Step(status=500, error="boom") if call.ordinal == 3 else Step(hold=never)

    backend = vllm_classify(upstream)
    async with started(backend):
        after_warm_up(upstream, script)
        with pytest.raises(RewardError):
            await backend.score(RewardRequest(MESSAGES), COMPLETIONS * 2)
        await until(lambda: upstream.running == 0)
        assert upstream.aborted == 3


@pytest.mark.parametrize(
    ("probs", "usage"),
    [
        ([0.1, 0.9], {"prompt_tokens": 3}),
        ([], {"prompt_tokens": 3}),
        (0.5, {"prompt_tokens": 3}),
        ([None], {"prompt_tokens": 3}),
        (["0.5"], {"prompt_tokens": 3}),
        ([True], {"prompt_tokens": 3}),
        ([0.5], None),
        ([0.5], {"prompt_tokens": None}),
    ],
)
async def test_an_answer_of_the_wrong_shape_is_a_failure(
    upstream: FakeUpstream, probs: object, usage: object
) -> None:
    backend = vllm_classify(upstream)
    async with started(backend):
        after_warm_up(
            upstream, Step(raw=orjson.dumps({"data": [{"probs": probs}], "usage": usage}))
        )
        with pytest.raises(RewardError):
            await backend.score(RewardRequest(MESSAGES), COMPLETIONS[:1])


async def test_a_classifier_of_several_labels_never_comes_up(upstream: FakeUpstream) -> None:
    answer = {"data": [{"probs": [0.1, 0.9]}], "usage": {"prompt_tokens": 3}}
    upstream.script = lambda call: Step(raw=orjson.dumps(answer))
    backend = vllm_classify(upstream)
    await backend.start()
    try:
        await until(lambda: upstream.requests >= 2)
        assert not backend.ready()
    finally:
        await backend.close()
