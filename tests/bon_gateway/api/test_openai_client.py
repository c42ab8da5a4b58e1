"""openai-python, as it comes, against the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

from bon_gateway.errors import PolicyFailedError, PolicyRefusedError
from bon_gateway.testing.fakes import Act, FakePolicy, completion

Serve = Callable[..., Awaitable[Any]]
MESSAGES: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "count",
        "parameters": {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
        },
    },
}


def tool_call(arguments: str) -> Any:
    call = {"id": "c1", "type": "function", "function": {"name": "count", "arguments": arguments}}
    return completion(None, finish_reason="tool_calls", tool_calls=[call])


async def test_the_best_comes_back(serve: Serve) -> None:
    served = await serve()
    answer = await served.openai.chat.completions.create(model="best", messages=MESSAGES)
    assert answer.choices[0].message.content == "answer 3"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "best"
    assert answer.usage.prompt_tokens == 5
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == 17


async def test_the_sync_client(serve: Serve) -> None:
    served = await serve()

    def ask() -> str | None:
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
            answer = client.chat.completions.create(model="best", messages=MESSAGES)
            return answer.choices[0].message.content

    assert await asyncio.to_thread(ask) == "answer 3"


async def test_extra_body_carries_bon_and_the_answer_has_one(serve: Serve) -> None:
    served = await serve()
    answer = await served.openai.chat.completions.create(
        model="best", messages=MESSAGES, extra_body={"bon": {"n": 2, "return_candidates": True}}
    )
    bon = answer.model_extra["bon"]
    assert (bon["strategy"], bon["n"], bon["winner"], bon["reward"]) == ("best_of_n", 2, 1, 1.0)
    assert bon["degraded"] is None
    assert bon["candidates"][0] == {
        "index": 0,
        "status": "finished",
        "finish_reason": "stop",
        "reward": 0.0,
        "tokens": 3,
        "message": {"role": "assistant", "content": "answer 0"},
    }
    assert bon["usage"] == {
        "prompt_tokens": 5, "winner_tokens": 3, "discarded_tokens": 3, "reward_tokens": 20,
    }  # fmt: skip
    assert set(bon["timings_ms"]) == {"generate", "score", "overhead", "total"}


async def test_candidates_keep_their_text_to_themselves_unless_asked(serve: Serve) -> None:
    served = await serve()
    answer = await served.openai.chat.completions.create(model="best", messages=MESSAGES)
    candidates = answer.model_extra["bon"]["candidates"]
    assert len(candidates) == 4
    assert all("message" not in candidate for candidate in candidates)


async def test_headers_through_with_raw_response(serve: Serve) -> None:
    served = await serve()
    raw = await served.openai.chat.completions.with_raw_response.create(
        model="best", messages=MESSAGES, extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["x-bon-strategy"] == "best_of_n"
    assert raw.headers["x-bon-n"] == "4"
    assert raw.headers["x-bon-reward"] == "3"
    assert float(raw.headers["x-bon-overhead-ms"]) >= 0
    assert "x-bon-degraded" not in raw.headers
    assert raw.parse().choices[0].message.content == "answer 3"


async def test_n_is_the_top_n_best_first(serve: Serve) -> None:
    served = await serve()
    answer = await served.openai.chat.completions.create(model="best", messages=MESSAGES, n=3)
    assert [c.message.content for c in answer.choices] == ["answer 3", "answer 2", "answer 1"]
    assert [c.index for c in answer.choices] == [0, 1, 2]


async def test_temperature_zero_draws_one_and_says_so(serve: Serve) -> None:
    served = await serve()
    raw = await served.openai.chat.completions.with_raw_response.create(
        model="best", messages=MESSAGES, temperature=0
    )
    assert raw.headers["x-bon-n"] == "1"
    assert served.policy.attempts.total() == 1


async def test_every_parameter_reaches_the_policy(serve: Serve) -> None:
    served = await serve()
    extra = {"top_k": 7, "min_p": 0.1, "never_heard_of": {"a": [1]}}
    await served.openai.chat.completions.create(
        model="best", messages=MESSAGES, temperature=0.7, top_p=0.9, max_tokens=9, stop=["x"],
        seed=11, presence_penalty=0.5, logit_bias={"5": 1}, user="me", extra_body=extra,
    )  # fmt: skip
    request = served.policy.requests[0]
    assert request.seed == 11
    assert request.sampling == {
        "temperature": 0.7, "top_p": 0.9, "max_tokens": 9, "stop": ["x"], "presence_penalty": 0.5,
        "logit_bias": {"5": 1}, "user": "me", **extra,
    }  # fmt: skip


async def test_tool_calls_come_back_whole_and_broken_ones_never_win(serve: Serve) -> None:
    policy = FakePolicy(
        {
            0: Act((tool_call('{"n": "99"}'),)),
            1: Act((tool_call('{"n": 99'),)),
            2: Act((tool_call('{"n": 3}'),)),
            3: Act((completion(""),)),
        }
    )
    served = await serve(policy=policy)
    answer = await served.openai.chat.completions.create(
        model="best", messages=MESSAGES, tools=[TOOL]
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls[0].function.arguments == '{"n": 3}'
    reasons = [c.get("reason") for c in answer.model_extra["bon"]["candidates"]]
    assert reasons == ["tool_arguments_violate_schema", "tool_arguments_not_json", None, "empty"]


async def test_streamed_tool_calls(serve: Serve) -> None:
    served = await serve(policy=FakePolicy({i: Act((tool_call('{"n": 3}'),)) for i in range(4)}))
    async with served.openai.chat.completions.stream(
        model="best", messages=MESSAGES, tools=[TOOL]
    ) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"n": 3}'
    assert final.choices[0].finish_reason == "tool_calls"


async def test_response_format(serve: Serve) -> None:
    acts = {0: Act((completion('{"a": 1}'),)), 1: Act((completion("9999"),))}
    served = await serve(policy=FakePolicy(acts))
    answer = await served.openai.chat.completions.create(
        model="best", messages=MESSAGES, response_format={"type": "json_object"}
    )
    assert answer.choices[0].message.content == '{"a": 1}'


async def test_the_winner_keeps_its_logprobs_and_finish_reason(serve: Serve) -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    from msgspec.structs import replace

    cut = replace(completion("a", finish_reason="length"), logprobs={"content": [token]})
    served = await serve(policy=FakePolicy({i: Act((cut,)) for i in range(4)}))
    answer = await served.openai.chat.completions.create(
        model="best", messages=MESSAGES, logprobs=True, top_logprobs=0
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].logprobs.content[0].logprob == -0.5


async def test_streaming_the_winner(serve: Serve) -> None:
    served = await serve()
    stream = await served.openai.chat.completions.create(
        model="best", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "answer 3"
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 12
    assert chunks[-1].model_extra["bon"]["winner"] == 3
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


async def test_streaming_the_top_two(serve: Serve) -> None:
    served = await serve()
    texts = {0: "", 1: ""}
    stream = await served.openai.chat.completions.create(
        model="best", messages=MESSAGES, stream=True, n=2
    )
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "answer 3", 1: "answer 2"}


async def test_a_single_pass_streams_token_by_token(serve: Serve) -> None:
    served = await serve()
    stream = await served.openai.chat.completions.create(
        model="one", messages=MESSAGES, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert [c.choices[0].delta.content for c in chunks] == ["", "one", " two", " three", None]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].model_extra["bon"]["strategy"] == "single"
    assert served.reward.calls == []


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_arrive_as_openais_typed_exceptions(serve: Serve, stream: bool) -> None:
    refused = PolicyRefusedError(
        "too long", status=400, param="messages", code="context_length_exceeded"
    )
    served = await serve(policy=FakePolicy({i: Act((refused,)) for i in range(4)}))
    create = served.openai.chat.completions.create
    with pytest.raises(openai.BadRequestError) as bad:
        await create(model="best", messages=MESSAGES, stream=stream)
    assert bad.value.code == "context_length_exceeded"
    assert bad.value.param == "messages"
    assert bad.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError) as missing:
        await create(model="nope", messages=MESSAGES, stream=stream)
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"


async def test_all_candidates_failed_is_the_true_error(serve: Serve) -> None:
    broken = PolicyFailedError("the engine broke")
    served = await serve(policy=FakePolicy({i: Act((broken,)) for i in range(4)}))
    with pytest.raises(openai.InternalServerError) as caught:
        await served.openai.chat.completions.create(model="best", messages=MESSAGES)
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_error"


async def test_models(serve: Serve) -> None:
    served = await serve()
    listed = await served.openai.models.list()
    assert [m.id for m in listed.data] == ["best", "first", "one", "fixed"]
    assert (await served.openai.models.retrieve("best")).owned_by == "bon-gateway"
    with pytest.raises(openai.NotFoundError):
        await served.openai.models.retrieve("nope")


async def test_keys(serve: Serve) -> None:
    served = await serve(environ={"BON_GATEWAY_API_KEYS": "alice:secret-key-1,bob:secret-key-2"})
    with pytest.raises(openai.AuthenticationError) as caught:
        await served.openai.models.list()
    assert caught.value.code == "invalid_api_key"
    good = served.openai.with_options(api_key="secret-key-2")
    assert len((await good.models.list()).data) == 4
