from __future__ import annotations

import contextlib
from typing import Any

import aiohttp
import msgspec
import orjson
import pytest

from bon_gateway.backends.reward.reward_server import RewardServerSettings
from bon_gateway.errors import RewardError
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Caller, RewardRequest
from reward_server.schema import PrefixRequest, ScoreRequest, ScoreResponse
from tests.bon_gateway.backends.support import MESSAGES, after_warm_up, reward_server, started
from tests.waiting import until

COMPLETIONS: list[dict[str, Any]] = [
    {"role": "assistant", "content": "one"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]},
]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize("model", [None, "helpful"])
async def test_one_request_in_the_reward_servers_own_schema(
    upstream: FakeUpstream, model: str | None
) -> None:
    backend = reward_server(upstream, model=model)
    async with started(backend):
        upstream.requests = 0
        await backend.score(RewardRequest(MESSAGES, tools=TOOLS), COMPLETIONS)
    assert upstream.requests == 1
    sent = msgspec.convert(upstream.calls[-1].body, ScoreRequest)
    assert sent.model == model
    (item,) = sent.items
    assert (item.messages, item.completions, item.tools) == (MESSAGES, COMPLETIONS, TOOLS)


@pytest.mark.parametrize("send", [False, True])
async def test_metadata_is_sent_if_the_settings_say_so(upstream: FakeUpstream, send: bool) -> None:
    backend = reward_server(upstream, send_metadata=send)
    async with started(backend):
        for metadata in ({"reference": "42"}, {}):
            await backend.score(RewardRequest(MESSAGES, metadata=metadata), COMPLETIONS)
            (item,) = upstream.calls[-1].body["items"]
            assert item.get("metadata") == (metadata if send and metadata else None)
    settings = RewardServerSettings(type="reward_server", urls=(upstream.url,), send_metadata=send)
    # Then the cache counts it too.
    assert settings.reads_metadata is send


async def test_beginnings_of_answers_are_told_from_whole_ones(upstream: FakeUpstream) -> None:
    backend = reward_server(upstream)
    async with started(backend):
        for partial in (False, True):
            await backend.score(RewardRequest(MESSAGES, partial=partial), COMPLETIONS)
            sent = msgspec.convert(upstream.calls[-1].body, ScoreRequest)
            assert sent.partial is partial


async def test_the_fake_answers_in_the_reward_servers_own_schema(upstream: FakeUpstream) -> None:
    body = {"items": [{"messages": MESSAGES, "completions": ["a", "b"]}]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{upstream.url}/v1/score", json=body) as response,
    ):
        answer = msgspec.json.decode(await response.read(), type=ScoreResponse)
    assert len(answer.results[0].rewards) == 2


@pytest.mark.parametrize(
    "result",
    [
        {"rewards": [1.0], "tokens": [1]},
        {"rewards": [1.0, 2.0, 3.0], "tokens": [1, 1, 1]},
        {"rewards": [1.0, None], "tokens": [1, 1]},
        {"rewards": [1.0, "2"], "tokens": [1, 1]},
        {"rewards": [1.0, True], "tokens": [1, 1]},
        {"rewards": {"0": 1.0, "1": 2.0}, "tokens": [1, 1]},
        {"rewards": [1.0, 2.0], "tokens": 2},
        {"rewards": [1.0, 2.0], "tokens": [1, "1"]},
        {"rewards": [1.0, 2.0]},
    ],
)
async def test_an_answer_of_the_wrong_shape_is_a_failure(
    upstream: FakeUpstream, result: dict[str, object]
) -> None:
    backend = reward_server(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(raw=orjson.dumps({"results": [result]})))
        with pytest.raises(RewardError):
            await backend.score(RewardRequest(MESSAGES), COMPLETIONS)


async def test_a_conversation_is_announced_in_the_reward_servers_own_schema(
    upstream: FakeUpstream,
) -> None:
    backend = reward_server(upstream, model="helpful", announce=True)
    assert backend.announces
    async with started(backend):
        upstream.requests = 0
        await backend.announce(RewardRequest(MESSAGES, tools=TOOLS))
    call = upstream.calls[-1]
    assert call.path == "/v1/prefix"
    sent = msgspec.convert(call.body, PrefixRequest)
    assert (sent.model, sent.messages, sent.tools) == ("helpful", MESSAGES, TOOLS)


async def test_candidates_go_where_their_conversation_was_announced() -> None:
    async with FakeUpstream() as one, FakeUpstream() as two:
        backend = reward_server(one, two, announce=True)
        async with started(backend):
            for number in range(6):
                messages = [{"role": "user", "content": f"question {number}"}]
                await backend.announce(RewardRequest(messages))
                home = next(u for u in (one, two) if u.calls[-1].body == {"messages": messages})
                for _ in range(3):
                    await backend.score(RewardRequest(messages), COMPLETIONS)
                    assert home.calls[-1].body["items"][0]["messages"] == messages
            await home.stop()
            other = two if home is one else one
            # It fails, unless a probe has seen first that its home is gone.
            with contextlib.suppress(RewardError):
                await backend.score(RewardRequest(messages), COMPLETIONS)
            await backend.score(RewardRequest(messages), COMPLETIONS)
            assert other.calls[-1].body["items"][0]["messages"] == messages


@pytest.mark.parametrize("status", [404, 503])
async def test_what_cannot_be_announced_is_scored_all_the_same(
    upstream: FakeUpstream, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    backend = reward_server(upstream, announce=True)
    async with started(backend):
        after_warm_up(upstream, lambda call: Step(status=status if "prefix" in call.path else 200))
        await backend.announce(RewardRequest(MESSAGES))
        await backend.announce(RewardRequest(MESSAGES))
        assert len((await backend.score(RewardRequest(MESSAGES), COMPLETIONS)).rewards) == 2
    assert caplog.text.count("cannot be announced") == (status == 404)


async def test_an_announcement_carries_the_request_too(upstream: FakeUpstream) -> None:
    backend = reward_server(upstream, announce=True)
    async with started(backend):
        after_warm_up(upstream, Step())
        await backend.announce(RewardRequest(MESSAGES, caller=Caller("req", {"baggage": "b=1"})))
    (call,) = upstream.calls
    assert call.path == "/v1/prefix"
    assert (call.headers["x-request-id"], call.headers["baggage"]) == ("req", "b=1")


async def test_labels_of_a_model_with_several(upstream: FakeUpstream) -> None:
    result = {"rewards": [3.0, 7.0], "tokens": [1, 1], "labels": {"a": [1, 2.5], "b": [2, 4.5]}}
    backend = reward_server(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(raw=orjson.dumps({"results": [result]})))
        scores = await backend.score(RewardRequest(MESSAGES), COMPLETIONS)
    assert scores.rewards == (3.0, 7.0)
    assert scores.labels == [{"a": 1.0, "b": 2.0}, {"a": 2.5, "b": 4.5}]


@pytest.mark.parametrize(
    "labels", [[1], {"a": 1}, {"a": [1.0]}, {"a": [1.0, None]}, dict.fromkeys(map(str, range(257)))]
)
async def test_labels_that_cannot_be_read(upstream: FakeUpstream, labels: Any) -> None:
    result = {"rewards": [3.0, 7.0], "tokens": [1, 1], "labels": labels}
    backend = reward_server(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(raw=orjson.dumps({"results": [result]})))
        with pytest.raises(RewardError):
            await backend.score(RewardRequest(MESSAGES), COMPLETIONS)


def labelled(**more: Any) -> Step:
    result = {"rewards": [3.0], "tokens": [1], "labels": {"true": [1.0], "kind": [2.0]}, **more}
    return Step(raw=orjson.dumps({"results": [result]}))


@pytest.mark.parametrize(
    ("labels", "step", "told"),
    [
        (("true", "kind"), labelled(), None),
        (("kind", "nice"), labelled(), "no label 'nice', which an ensemble reads; it has true, k"),
        (("kind",), labelled(labels={}), "no label 'kind', which an ensemble reads; it has none"),
        # Another gateway, whose ensemble does without a member for now.
        (("judge", "kind"), labelled(left_out=["judge"]), None),
    ],
)
async def test_a_model_without_a_label_that_is_read_does_not_come_up(
    labels: tuple[str, ...], step: Step, told: str | None
) -> None:
    async with FakeUpstream(lambda _: step) as upstream:
        settings = RewardServerSettings(
            type="reward_server", urls=(upstream.url,), probe_interval_s=0.05
        )
        backend = settings.build_reading(lambda _: None, labels)
        [wrong] = (await backend.trial(None)).values()
        assert (wrong is None) is (told is None)
        assert (told or "") in (wrong or "")
        await backend.start()
        await until(lambda: backend.ready() or bool(backend.troubles()))
        assert backend.ready() is (told is None)
        assert (told or "") in "".join(backend.troubles().values())
        await backend.close()


async def test_members_that_another_gateway_left_out_are_named() -> None:
    async with FakeUpstream(lambda _: labelled(left_out=["judge"])) as upstream:
        backend = reward_server(upstream)
        async with started(backend):
            scores = await backend.score(RewardRequest(MESSAGES), COMPLETIONS[:1])
    assert scores.left_out == ["judge"]
