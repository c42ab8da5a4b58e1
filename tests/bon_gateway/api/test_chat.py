"""The wire contract where an OpenAI client does not look: bad input, clients that leave, limits,
what arrives when something is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import orjson
import pytest

from bon_gateway.errors import PolicyFailedError, RewardRefusedError
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import Message

Serve = Callable[..., Awaitable[Any]]
HI = [{"role": "user", "content": "hi"}]
BROKEN = PolicyFailedError("broken")


def events(body: str) -> list[Any]:
    """The data of each event but ``[DONE]``."""
    lines = [line[6:] for line in body.splitlines() if line.startswith("data: ")]
    return [orjson.loads(line) for line in lines if line != "[DONE]"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": 1, "content": "hi"}]}, "messages[0].role"),
    ({"messages": HI * 3000}, "messages"),
    ({"model": 5}, "model"),
    ({"n": 0}, "n"),
    ({"n": 5}, "n"),
    ({"n": 10**9}, "n"),
    ({"n": "two"}, "n"),
    ({"n": 1.5}, "n"),
    ({"n": 2, "temperature": 0}, "n"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "warm"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 10**9}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"logprobs": True, "top_logprobs": 10**6}, "top_logprobs"),
    ({"prompt_logprobs": 10**6}, "prompt_logprobs"),
    ({"prompt_logprobs": -1}, "prompt_logprobs"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"stream": "maybe"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"tools": "x"}, "tools"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tool_choice": 5}, "tool_choice"),
    ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice"),
    ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
    ({"structured_outputs": 3}, "structured_outputs"),
    ({"structured_outputs": ["a"]}, "structured_outputs"),
    ({"messages": [{"role": "user", "content": {"text": "hi"}}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{"role": "assistant", "tool_calls": 5}]}, "messages[0].tool_calls"),
    ({"temperature": "nan"}, "temperature"),
    ({"temperature": "inf"}, "temperature"),
    ({"response_format": {}}, "response_format.type"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "no"}}}},
        "response_format.json_schema.schema",
    ),
    ({"use_beam_search": True}, "use_beam_search"),
    ({"logprobs": True, "logprob_token_ids": [5]}, "logprob_token_ids"),
    ({"bon": 5}, "bon"),
    ({"bon": {"nn": 5}}, "bon.nn"),
    ({"bon": {"strategy": "worst_of_n"}}, "bon.strategy"),
    ({"bon": {"n": 0}}, "bon.n"),
    ({"bon": {"n": 65}}, "bon.n"),
    ({"bon": {"spare": 3}}, "bon.spare"),
    ({"bon": {"strategy": "first_k", "n": 64}}, "bon.n"),
    ({"bon": {"strategy": "first_k", "spare": 1000}}, "bon.spare"),
    ({"bon": {"strategy": "first_k", "n": 63, "spare": 5}}, "bon.spare"),
    ({"bon": {"deadline_ms": -1}}, "bon.deadline_ms"),
    ({"bon": {"n": 2, "min_candidates": 3}}, "bon.min_candidates"),
    ({"bon": {"strategy": "single", "n": 2}}, "bon.n"),
    ({"model": "one", "n": 2}, "n"),
    ({"model": "one", "bon": {"strategy": "best_of_n"}}, "bon.strategy"),
    ({"model": "fixed", "bon": {"n": 1}}, "bon"),
]


async def test_bad_input_is_a_400_that_names_the_parameter(serve: Serve) -> None:
    served = await serve(settings={"limits": {"max_tokens": 4096}})
    wrong = []
    for body, param in BAD:
        answer = await served.chat(**body)
        error = answer.json().get("error", {})
        as_it_should = (
            answer.status_code == 400
            and error["param"] == param
            and error["type"] == "invalid_request_error"
            and isinstance(error["code"], str)
            and param in error["message"]
        )
        if not as_it_should:
            wrong.append((str(body)[:100], answer.status_code, error))
    assert wrong == []
    assert served.policy.requests == []


async def test_named_tokens_where_they_are_allowed(serve: Serve) -> None:
    """vLLM takes an empty list as none."""
    served = await serve(settings={"limits": {"logprob_token_ids": True}})
    answer = await served.chat(logprobs=True, logprob_token_ids=[5])
    assert answer.status_code == 200
    assert served.policy.requests[0].sampling["logprob_token_ids"] == [5]
    served = await serve()
    assert (await served.chat(logprob_token_ids=[])).status_code == 200


async def test_bodies_that_are_no_request(serve: Serve) -> None:
    served = await serve()
    codes = []
    for data in (b"{", b"", b'{"model": "\xff\xfe"}', b'{"model": NaN}', b"[" * 5000, b"[]", b"{}"):
        answer = await served.http.post(
            "/v1/chat/completions", content=data, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400
        codes.append(answer.json()["error"]["code"])
    assert codes == ["invalid_json"] * 5 + ["invalid_value", "missing_parameter"]


async def test_a_ten_megabyte_body_is_refused(serve: Serve) -> None:
    served = await serve()
    answer = await served.chat(messages=[{"role": "user", "content": "x" * 10_000_000}])
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405)],
)
async def test_unknown_paths_and_methods_have_openais_error(
    serve: Serve, method: str, path: str, status: int
) -> None:
    served = await serve()
    answer = await served.http.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "code"}


async def test_n_above_the_limit_is_clamped_where_the_operator_says_so(serve: Serve) -> None:
    served = await serve(settings={"limits": {"max_n": 6, "on_excess_n": "clamp"}})
    answer = await served.chat(bon={"n": 100})
    assert answer.headers["x-bon-n"] == "6"


async def test_another_strategy_by_request(serve: Serve) -> None:
    served = await serve()
    answer = await served.chat(bon={"strategy": "first_k", "n": 2, "spare": 3})
    assert answer.json()["bon"]["strategy"] == "first_k"
    assert answer.headers["x-bon-n"] == "5"
    answer = await served.chat(bon={"strategy": "single"})
    assert answer.headers["x-bon-n"] == "1"


async def test_a_degraded_answer_says_why(serve: Serve) -> None:
    served = await serve(policy=FakePolicy({3: Act((BROKEN,))}), reward=FakeReward(failures=99))
    answer = await served.chat()
    assert answer.status_code == 200
    assert answer.headers["x-bon-degraded"] == "candidates_failed, reward_unavailable"
    assert answer.json()["bon"]["degraded"] == "candidates_failed, reward_unavailable"
    assert "x-bon-reward" not in answer.headers
    assert served.metric("bon_degraded_total", model="best", reason="reward_unavailable") == 1


def refuse(message: Message) -> float:
    raise RewardRefusedError("the conversation is refused", param="messages[0]")


async def test_a_refused_conversation_is_told_from_a_reward_model_that_is_down(
    serve: Serve,
) -> None:
    served = await serve(reward=FakeReward(rule=refuse))
    answer = await served.chat()
    assert answer.status_code == 200
    assert answer.headers["x-bon-degraded"] == "reward_refused"
    assert answer.json()["bon"]["degraded"] == "reward_refused"
    assert served.metric("bon_degraded_total", model="best", reason="reward_refused") == 1


async def test_a_refused_conversation_is_no_error_to_retry(serve: Serve) -> None:
    strategy = {"type": "best_of_n", "n": 4, "fallback": "error"}
    models = {"best": {"policy": "p", "reward": "r", "strategy": strategy}}
    served = await serve(reward=FakeReward(rule=refuse), settings={"models": models})
    client = served.openai.with_options(max_retries=2)
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await client.chat.completions.create(
            model="best", messages=[{"role": "user", "content": "hi"}]
        )
    assert (caught.value.code, caught.value.param) == ("reward_refused", "messages[0]")
    assert "retry-after" not in caught.value.response.headers
    assert len(served.reward.calls) == 1, "openai-python does not ask again by itself"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_image_is_refused_before_anything_is_drawn(serve: Serve, stream: bool) -> None:
    served = await serve()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, image]}]
    answer = await served.chat(messages=messages, stream=stream)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "unreadable_part")
    assert error["param"] == "messages[0].content[1]"
    assert "non_text_parts" in error["message"]
    assert not served.policy.attempts
    for single in ({"model": "one"}, {"bon": {"strategy": "single"}}):
        passed = await served.chat(messages=messages, stream=stream, **single)
        assert passed.status_code == 200
        assert served.policy.requests[-1].messages == messages


@pytest.mark.parametrize("model", ["best", "one"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_candidates(
    serve: Serve, model: str, stream: bool
) -> None:
    slow = Act((completion("a b"),), delay=60, tokens_so_far=5)
    served = await serve(policy=FakePolicy(dict.fromkeys(range(4), slow)))
    task = asyncio.create_task(served.chat(model=model, stream=stream))
    while served.policy.running < (4 if model == "best" else 1):
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        while served.policy.running:
            await asyncio.sleep(0.01)
        strategy = "best_of_n" if model == "best" else "single"
        labels = {"model": model, "strategy": strategy, "status": "499"}
        while not served.metric("bon_requests_total", **labels):
            await asyncio.sleep(0.01)
    assert served.metric("bon_candidates_in_flight") == 0
    if model == "best":
        assert served.metric("bon_tokens_total", model=model, kind="discarded") == 20


async def test_comments_keep_a_stream_alive_until_the_winner(serve: Serve) -> None:
    slow = Act((completion("answer 9"),), delay=0.35)
    served = await serve(policy=FakePolicy({3: slow}), settings={"server": {"keepalive_s": 0.1}})
    answer = await served.chat(stream=True)
    comments = [line for line in answer.text.splitlines() if line.startswith(":")]
    assert 2 <= len(comments) <= 4
    assert answer.text.startswith(":")
    assert answer.headers["x-bon-n"] == "4"
    assert "x-bon-reward" not in answer.headers
    assert events(answer.text)[-1]["bon"]["reward"] == 9.0
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_an_error_after_the_first_byte_is_an_event(serve: Serve) -> None:
    late = dict.fromkeys(range(4), Act((BROKEN,), delay=0.2))
    served = await serve(policy=FakePolicy(late), settings={"server": {"keepalive_s": 0.05}})
    answer = await served.chat(stream=True)
    assert answer.status_code == 200
    assert events(answer.text) == [
        {"error": {"message": "broken", "type": "server_error", "code": "upstream_error"}}
    ]


async def test_admission_refuses_what_does_not_fit_and_frees_it_again(serve: Serve) -> None:
    hold = Act(tokens_so_far=1)
    served = await serve(
        policy=FakePolicy(dict.fromkeys(range(4), hold)),
        settings={"limits": {"max_n": 4, "max_candidates": 6}},
    )
    task = asyncio.create_task(served.chat())
    while served.policy.running < 4:
        await asyncio.sleep(0.01)
    for stream in (False, True):
        refused = await served.chat(stream=stream)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "overloaded"
        assert int(refused.headers["retry-after"]) >= 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    served.policy.acts = {}
    async with asyncio.timeout(5):
        while served.metric("bon_candidates_in_flight"):
            await asyncio.sleep(0.01)
    assert (await served.chat()).status_code == 200


async def test_one_key_has_its_share(serve: Serve) -> None:
    served = await serve(
        policy=FakePolicy(dict.fromkeys(range(4), Act())),
        settings={"limits": {"max_candidates_per_key": 6}},
        environ={"BON_GATEWAY_API_KEYS": "a:key-a-0123456789,b:key-b-0123456789"},
    )
    served.http.headers["authorization"] = "Bearer key-a-0123456789"
    task = asyncio.create_task(served.chat())
    while served.policy.running < 4:
        await asyncio.sleep(0.01)
    refused = await served.chat()
    assert refused.status_code == 429
    assert "retry-after" in refused.headers
    served.policy.acts = {}
    served.http.headers["authorization"] = "Bearer key-b-0123456789"
    assert (await served.chat()).status_code == 200
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_readyz_follows_the_upstreams(serve: Serve) -> None:
    served = await serve()
    assert (await served.http.get("/readyz")).json()["status"] == "ready"
    served.policy.is_ready = False
    answer = await served.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["upstreams"]["policies.p.fake"] == "ejected"
    assert answer.json()["reasons"] == {"policies.p.fake": "It was told to be down."}
    assert (await served.http.get("/livez")).status_code == 200


async def test_metrics_tell_what_a_request_cost(serve: Serve) -> None:
    served = await serve()
    await served.chat()
    text = (await served.http.get("/metrics")).text
    for line in (
        'bon_requests_total{model="best",status="200",strategy="best_of_n"} 1.0',
        'bon_candidates_total{model="best",status="finished"} 4.0',
        'bon_tokens_total{kind="winner",model="best"} 3.0',
        'bon_tokens_total{kind="discarded",model="best"} 9.0',
        'bon_reward_gain_sum{model="best"} 1.5',
        'bon_score_seconds_count{reward="r"}',
        "bon_requests_in_flight 0.0",
    ):
        assert line in text or line.startswith("bon_score"), line


async def test_no_task_is_left_behind(serve: Serve) -> None:
    served = await serve()
    await served.chat()
    before = len(asyncio.all_tasks())
    for stream in (False, True):
        for model in ("best", "first", "one"):
            await served.chat(model=model, stream=stream)
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)
