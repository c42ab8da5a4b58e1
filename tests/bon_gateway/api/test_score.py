"""``POST /v1/score``: answers that a client brings, scored by the gateway's rewards."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from bon_gateway.backends.reward.reward_server import RewardServerSettings
from bon_gateway.errors import RewardRefusedError
from bon_gateway.judging import JudgeUsage
from bon_gateway.testing.fakes import FakeReward
from bon_gateway.types import Caller, RewardRequest, Scores
from reward_server.schema import ScoreResponse
from tests.bon_gateway.api.conftest import Serve, Served
from tests.waiting import until

HI = [{"role": "user", "content": "hi"}]
KEYS = {"BON_GATEWAY_API_KEYS": "a:key-a-0123456789,b:key-b-0123456789"}
A, B = ({"authorization": f"Bearer key-{name}-0123456789"} for name in "ab")


def item(*completions: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": HI, "completions": list(completions), **fields}


async def score(served: Served, *items: Any, key: Any = None, **fields: Any) -> httpx.Response:
    return await served.http.post("/v1/score", json={"items": items, **fields}, headers=key)


async def test_rewards_come_in_the_order_given(serve: Serve) -> None:
    served = await serve()
    message = {"role": "assistant", "content": "answer 5", "reasoning": "answer 9"}
    answer = await score(served, item("answer 2", message, "answer 2"), item("answer 7"), model="r")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["model"] == "r"
    assert [one["rewards"] for one in told["results"]] == [[2.0, 5.0, 2.0], [7.0]]
    assert [one["tokens"] for one in told["results"]] == [[0, 0, 0], [0]]
    assert [one["truncated"] for one in told["results"]] == [[False] * 3, [False]]
    # Equal answers to a conversation are scored once, and reasoning is not shown.
    assert served.reward.calls[0] == [
        {"role": "assistant", "content": "answer 2"},
        {"role": "assistant", "content": "answer 5"},
    ]
    assert told["usage"] == {"sequences": 3, "tokens": 30}
    assert told["timings_ms"]["model"] >= 0
    assert served.metric("bon_score_requests_total", reward="r", status="200") == 1


async def test_what_a_candidate_may_hold_is_scored(serve: Serve) -> None:
    served = await serve()
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    parts = [{"type": "text", "text": "answer"}, {"type": "text", "text": "3"}]
    completions = ({"content": parts}, {"content": None, "tool_calls": [call]}, {"refusal": "no 4"})
    answer = await score(served, item(*completions, tools=tools), partial=True)
    assert answer.json()["results"][0]["rewards"] == [3.0, 0.0, 4.0]
    assert served.reward.calls[0][1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [call],
    }
    assert served.reward.partial == [True]


async def test_a_reward_sees_what_verifiers_compare_with(serve: Serve) -> None:
    class Comparing(FakeReward):
        async def score(self, request: RewardRequest, completions: Any) -> Scores:
            right = [float(one["content"] == request.metadata["reference"]) for one in completions]
            return Scores(tuple(right), 0)

    served = await serve(reward=Comparing())
    answer = await score(served, item("4", "5", metadata={"reference": "4"}))
    assert answer.json()["results"][0]["rewards"] == [1.0, 0.0]


async def test_another_gateway_may_ask_as_it_asks_a_reward_server(serve: Serve) -> None:
    served = await serve()
    settings = RewardServerSettings(type="reward_server", urls=(served.url,), model="r")
    backend = settings.build(None)
    await backend.start()
    try:
        await until(backend.ready)
        request = RewardRequest(HI, caller=Caller("asked-elsewhere"))
        answers = [{"role": "assistant", "content": f"answer {i}"} for i in (3, 1)]
        scores = await backend.score(request, answers)
    finally:
        await backend.close()
    assert scores.rewards == (3.0, 1.0)
    assert served.reward.callers[-1] == Caller("asked-elsewhere")


async def test_the_answer_is_the_reward_servers(serve: Serve) -> None:
    import msgspec

    served = await serve()
    answer = await score(served, item("answer 1"))
    read = msgspec.json.decode(answer.content, type=ScoreResponse)
    assert read.results[0].rewards == [1.0]


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({}, "items", "required"),
        ({"items": []}, "items", "at least one"),
        ({"items": [item()]}, "items[0].completions", "at least one"),
        ({"items": [item("a", messages=[])]}, "items[0].messages", "at least one"),
        ({"items": [item("a", messages=[{}])]}, "items[0].messages[0].role", "missing"),
        ({"items": [item("a"), item(4)]}, "items[1].completions[0]", "Expected"),
        (
            {"items": [item({"role": "user", "content": "a"})]},
            "items[0].completions[0].role",
            "assistant",
        ),
        ({"items": [item("a", tools=[{}])]}, "items[0].tools[0].function", "name"),
        ({"items": [item("a")], "n": 3}, "n", "not known"),
        ({"items": [item("a")], "on_overflow": "refuse"}, "on_overflow", "reward server"),
        ({"items": [item("a")], "deadline_ms": 0}, "deadline_ms", "Expected"),
        ({"items": [item("a")], "missing": "zero"}, "missing", "Invalid"),
        ({"items": [item(*map(str, range(9)))]}, "items", "above the limit of 8"),
        (
            {"items": [item("a", messages=[{"role": "user", "content": [{"type": "image_url"}]}])]},
            "items[0].messages[0].content[0]",
            "text only",
        ),
        (
            {"items": [item("a", {"content": [{"type": "image_url"}]})]},
            "items[0].completions[1].content[0]",
            "text only",
        ),
    ],
)
async def test_an_error_names_the_place(
    serve: Serve, body: dict[str, Any], param: str, said: str
) -> None:
    served = await serve(settings={"limits": {"max_candidates": 8, "max_n": 8}})
    answer = await served.http.post("/v1/score", json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert said in error["message"]
    assert served.reward.calls == []
    counted = [
        served.metric("bon_score_requests_total", reward=reward, status="400")
        for reward in ("unknown", "r")
    ]
    assert sum(counted) == 1


async def test_rewards_are_asked_by_name(serve: Serve) -> None:
    two = {n: {"type": "reward_server", "urls": ["http://127.0.0.1:1"]} for n in ("r", "other")}
    served = await serve(settings={"rewards": two})
    answer = await score(served, item("answer 1"), model="none")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    # A served model is not a reward.
    assert (await score(served, item("answer 1"), model="best")).status_code == 404
    listed = (await served.http.get("/v1/rewards")).json()["data"]
    assert [(one["id"], one["object"]) for one in listed] == [("r", "reward")]
    assert listed[0]["bon"] == {"ready": True, "compares": False}
    models = (await served.http.get("/v1/models")).json()["data"]
    assert "r" not in [one["id"] for one in models]
    assert (await served.http.get("/v1/score")).status_code == 405


async def test_an_abstention_fails_the_call_unless_null_is_asked_for(serve: Serve) -> None:
    reward = FakeReward(abstains=lambda message: message["content"] == "hm")
    served = await serve(reward=reward)
    items = (item("answer 1"), item("answer 2", "answer 2", "hm"))
    answer = await score(served, *items)
    assert answer.status_code == 422
    assert "retry-after" not in answer.headers
    error = answer.json()["error"]
    assert error["code"] == "reward_abstained"
    assert error["param"] == "items[1].completions[2]"
    answer = await score(served, *items, missing="null")
    assert answer.status_code == 200
    first, second = answer.json()["results"]
    assert first["rewards"] == [1.0]
    assert "reasons" not in first
    assert second["rewards"] == [2.0, 2.0, None]
    assert second["reasons"] == {"2": "reward_abstained"}


class Refusing(FakeReward):
    """It cannot read the second distinct answer."""

    async def score(self, request: RewardRequest, completions: Any) -> Scores:
        raise RewardRefusedError("too long", answer=1)


async def test_a_refusal_names_the_answer(serve: Serve) -> None:
    served = await serve(reward=Refusing())
    answer = await score(served, item("a"), item("a", "a", "long"))
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["code"] == "reward_refused"
    assert error["param"] in ("items[0]", "items[1].completions[2]")
    only = (await score(served, item("a", "a", "long"))).json()["error"]
    assert only["param"] == "items[0].completions[2]"


async def test_a_reward_that_is_down_is_503(serve: Serve) -> None:
    served = await serve(reward=FakeReward(failures=1))
    answer = await score(served, item("answer 1"))
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "reward_unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    assert (await score(served, item("answer 1"))).status_code == 200


async def test_keys_and_budgets_hold(serve: Serve) -> None:
    judging = JudgeUsage(calls=2, prompt_tokens=50, completion_tokens=25)
    limits = {"tokens_per_key": 30, "window_s": 3600, "max_candidates_per_key": 4}
    served = await serve(
        reward=FakeReward(judging=judging), settings={"limits": limits}, environ=KEYS
    )
    assert (await score(served, item("answer 1"))).status_code == 401
    many = await score(served, item(*map(str, range(5))), key=A)
    assert many.status_code == 400
    assert many.json()["error"]["param"] == "items"
    first = await score(served, item("answer 1"), item("answer 2"), key=A)
    assert first.status_code == 200
    assert first.json()["usage"]["judge"] == {
        "calls": 4,
        "prompt_tokens": 100,
        "cached_tokens": 0,
        "completion_tokens": 50,
        "abstentions": 0,
    }
    assert first.headers["x-ratelimit-remaining-tokens"] == "0"
    refused = await score(served, item("answer 1"), key=A)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 3000
    assert (await score(served, item("answer 1"), key=B)).status_code == 200


async def test_tokens_of_a_call_that_fails_are_spent_too(serve: Serve) -> None:
    reward = FakeReward(
        abstains=lambda message: message["content"] == "hm",
        judging=JudgeUsage(completion_tokens=40),
    )
    limits = {"tokens_per_key": 30, "window_s": 3600}
    served = await serve(reward=reward, settings={"limits": limits}, environ=KEYS)
    assert (await score(served, item("hm"), key=A)).status_code == 422
    assert (await score(served, item("answer 1"), key=A)).status_code == 429


async def test_tokens_of_a_call_that_the_deadline_ends_are_spent_too(serve: Serve) -> None:
    reward = FakeReward(delay=60, judging=JudgeUsage(completion_tokens=40))
    limits = {"tokens_per_key": 30, "window_s": 3600}
    served = await serve(reward=reward, settings={"limits": limits}, environ=KEYS)
    assert (await score(served, item("answer 1"), key=A, deadline_ms=100)).status_code == 504
    assert (await score(served, item("answer 1"), key=A)).status_code == 429


async def test_answers_count_as_candidates_in_flight(serve: Serve) -> None:
    served = await serve(
        reward=FakeReward(delay=60), settings={"limits": {"max_candidates": 4, "max_n": 4}}
    )
    held = asyncio.create_task(score(served, item("answer 1", "answer 2", "answer 3")))
    try:
        await until(lambda: served.metric("bon_candidates_in_flight") == 3)
        full = await score(served, item("answer 1", "answer 2"))
        assert full.status_code == 503
        assert full.json()["error"]["code"] == "overloaded"
    finally:
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
    await until(lambda: served.metric("bon_candidates_in_flight") == 0)
    # The client left, so nothing is scored for it any more.
    assert served.reward.aborted == 1
    await until(lambda: served.metric("bon_score_requests_total", reward="r", status="499") == 1)


async def test_few_conversations_are_scored_at_once(serve: Serve) -> None:
    running, most = 0, 0

    class Counting(FakeReward):
        async def score(self, request: RewardRequest, completions: Any) -> Scores:
            nonlocal running, most
            running, most = running + 1, max(most, running + 1)
            await asyncio.sleep(0.001)
            running -= 1
            return Scores((1.0,) * len(completions), 0)

    served = await serve(reward=Counting())
    assert (await score(served, *[item(str(i)) for i in range(64)])).status_code == 200
    assert 1 < most <= 16


async def test_a_deadline_is_kept(serve: Serve) -> None:
    served = await serve(reward=FakeReward(delay=60))
    answer = await score(served, item("answer 1"), deadline_ms=20)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert served.reward.aborted == 1


class Joint(FakeReward):
    """An ensemble with one member down; another gave no number for the last answer."""

    async def score(self, request: RewardRequest, completions: Any) -> Scores:
        members: list[dict[str, float]] = [{"a": 1.0, "b": 2.0} for _ in completions]
        del members[-1]["b"]
        count = len(completions)
        return Scores((1.0,) * count, 0, members=members, left_out=("c",), read=[7] * count)


async def test_members_of_an_ensemble_are_told(serve: Serve) -> None:
    served = await serve(reward=Joint())
    [told] = (await score(served, item("x", "y"))).json()["results"]
    assert told["labels"] == {"a": [1.0, 1.0]}
    assert told["left_out"] == ["c"]
    assert told["tokens"] == [7, 7]


class Dimensions(FakeReward):
    async def score(self, request: RewardRequest, completions: Any) -> Scores:
        labels = [{"true": float(i), "kind": 2.0} for i in range(len(completions))]
        return Scores((1.0,) * len(completions), 0, labels=labels)


async def test_labels_of_a_model_are_told(serve: Serve) -> None:
    served = await serve(reward=Dimensions())
    [told] = (await score(served, item("x", "y"))).json()["results"]
    assert told["labels"] == {"true": [0.0, 1.0], "kind": [2.0, 2.0]}


async def test_no_metadata_may_be_null(serve: Serve) -> None:
    served = await serve()
    assert (await score(served, item("a", metadata=None))).status_code == 200
    refused = await score(served, item("a", metadata=["b"]))
    assert refused.status_code == 400
    assert "metadata" in refused.json()["error"]["message"]
