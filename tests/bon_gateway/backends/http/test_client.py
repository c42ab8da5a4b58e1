"""The client itself; what its failures become is tested with the backends."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from bon_gateway.backends.http.client import (
    FEW_LEVELS,
    HttpClient,
    base_url,
    encode,
    finite,
    read_answer,
)
from bon_gateway.backends.http.faults import Fault, UpstreamError, policy_error, status_error
from bon_gateway.backends.policy.vllm.check import check_writable
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.backends.servers import raw_server, read_request

BODY = b'{"model":"fake","messages":[{"role":"user","content":"x"}]}'


def client(**settings: Any) -> HttpClient:
    return HttpClient(api_key=None, **{"connect_timeout_s": 1.0, "timeout_s": 5.0, **settings})


@pytest.mark.parametrize(
    "url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", "http://h:1//"]
)
def test_an_address_may_end_in_v1(url: str) -> None:
    assert base_url(url) == "http://h:1"


def test_a_path_that_only_looks_like_v1_stays() -> None:
    assert base_url("http://h/prefix/v1") == "http://h/prefix"
    assert base_url("http://h/xv1") == "http://h/xv1"


async def test_proxies_of_the_environment_are_not_used(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    http = client()
    http.open()
    answer = await http.post(URL(f"{upstream.url}/v1/chat/completions"), BODY, {})
    await http.close()
    assert answer["choices"]


@pytest.mark.parametrize(
    ("key", "sent"), [(None, "Basic dXM6cEB3"), ("sk-1", "Bearer sk-1")], ids=["url", "key"]
)
async def test_a_password_in_the_address_is_sent_unless_there_is_a_key(
    upstream: FakeUpstream, key: str | None, sent: str
) -> None:
    http = HttpClient(api_key=key, connect_timeout_s=1.0, timeout_s=5.0)
    http.open()
    url = URL(f"http://us:p%40w@127.0.0.1:{upstream.port}/v1/chat/completions")
    await http.post(url, BODY, {})
    await http.close()
    headers = upstream.calls[0].headers
    assert headers["authorization"] == sent
    assert headers["host"] == f"127.0.0.1:{upstream.port}"


async def test_a_header_of_two_lines_is_refused(upstream: FakeUpstream) -> None:
    http = client()
    http.open()
    url = URL(f"{upstream.url}/v1/chat/completions")
    with pytest.raises(ValueError, match="one line"):
        await http.post(url, BODY, {"x-request-id": "a\r\nx-evil: b"})
    await http.close()
    assert upstream.calls == []


async def test_cookies_are_not_kept(upstream: FakeUpstream) -> None:
    upstream.script = lambda call: Step(raw=b"{}", headers={"set-cookie": "session=1"})
    http = client()
    http.open()
    # By name: no client keeps the cookies of a numeric address.
    url = URL(f"http://localhost:{upstream.port}/classify")
    for _ in range(2):
        await http.post(url, BODY, {})
    await http.close()
    assert all("cookie" not in call.headers for call in upstream.calls)


async def test_more_than_a_hundred_requests_run_at_once(upstream: FakeUpstream) -> None:
    """Clients often stop at 100; here admission is the gateway's business."""
    gate = asyncio.Event()
    upstream.script = lambda call: Step(hold=gate)
    http = client()
    http.open()
    url = URL(f"{upstream.url}/v1/chat/completions")
    tasks = [asyncio.create_task(http.post(url, BODY, {})) for _ in range(150)]
    async with asyncio.timeout(5):
        while upstream.running < 150:
            await asyncio.sleep(0.005)
    gate.set()
    await asyncio.gather(*tasks)
    await http.close()


async def test_a_closed_client_is_unreachable() -> None:
    with pytest.raises(UpstreamError) as raised:
        await client().post(URL("http://127.0.0.1:1/x"), BODY, {})
    assert raised.value.kind is Fault.UNREACHABLE


async def test_an_address_that_nobody_listens_on_is_dead(upstream: FakeUpstream) -> None:
    await upstream.stop()
    http = client()
    http.open()
    calls = [
        http.get(URL(upstream.url)),
        http.post(URL(upstream.url), BODY, {}),
        anext(http.events(URL(upstream.url), BODY, {})),
    ]
    for call in calls:
        with pytest.raises(UpstreamError) as raised:
            await call
        assert raised.value.kind is Fault.UNREACHABLE
        assert raised.value.dead
    await http.close()


async def test_a_probe_is_limited_by_the_connect_timeout() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    http = client(connect_timeout_s=0.1)
    http.open()
    async with raw_server(swallow) as url:
        with pytest.raises(UpstreamError) as raised:
            await http.get(url)
        await http.close()
    assert raised.value.kind is Fault.TIMEOUT


@pytest.mark.parametrize("size", [1, 2, 7, 64])
async def test_events_that_arrive_in_pieces_are_whole(size: int) -> None:
    """Whatever the pieces, also in the middle of a character."""
    stream = 'data: {"a": "é€"}\n\n: comment\n\ndata:{"a": "𝄞"}\r\n\r\ndata: [DONE]\n\n'.encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        for start in range(0, len(stream), size):
            writer.write(stream[start : start + size])
            await writer.drain()
            await asyncio.sleep(0.001)

    http = client()
    http.open()
    async with raw_server(answer) as url, aclosing(http.events(url, BODY, {})) as events:
        seen = [event async for event in events]
    assert seen == [{"a": "é€"}, {"a": "𝄞"}]
    await http.close()


async def test_a_stream_whose_last_bytes_are_late_keeps_its_connection() -> None:
    """vLLM ends the body after [DONE]; leaving before that would look like an abort to it."""
    event = b"data: [DONE]\n\n"
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(3):
            with suppress(asyncio.IncompleteReadError):
                await reader.readuntil(BODY)
            head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            writer.write(b"%b%x\r\n%b\r\n" % (head, len(event), event))
            await asyncio.sleep(0.02)
            writer.write(b"0\r\n\r\n")

    http = client()
    http.open()
    async with raw_server(answer) as url:
        for _ in range(3):
            async with aclosing(http.events(url, BODY, {})) as events:
                assert [event async for event in events] == []
    await http.close()
    assert connections == 1


def test_json_goes_out_and_comes_in() -> None:
    assert read_answer(encode({"a": ("é", 1.5, None)})).body == {"a": ["é", 1.5, None]}


def nested(value: Any, levels: int) -> Any:
    for level in range(levels):
        value = [value] if level % 2 else {"[": value}
    return value


@given(st.integers(0, 400), st.booleans())
def test_what_is_said_to_be_writable_can_be_written(levels: int, strict: bool) -> None:
    text = json.dumps({"a": nested(None, levels), "b": "{" * 20})
    answer = read_answer(text.encode() if strict else text.replace("null", "NaN").encode())
    if answer.writable:
        check_writable(answer.body)
    assert answer.writable == (strict and text.count("{") + text.count("[") <= FEW_LEVELS)


@pytest.mark.parametrize("number", [True, None, "1", float("nan"), float("inf"), [1]])
def test_a_reward_is_a_finite_number(number: object) -> None:
    with pytest.raises(UpstreamError):
        finite(number)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_kept_connection_that_has_died_costs_no_call(streamed: bool) -> None:
    """Every connection serves one call and hangs up on the second, before a byte of an answer."""
    payload = b'data: {"a": 1}\n\ndata: [DONE]\n\n' if streamed else b'{"a": 1}'
    connections = heard = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, heard
        connections += 1
        await read_request(reader)
        heard += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(payload), payload))
        await read_request(reader)

    async def call(http: HttpClient, url: URL) -> object:
        if not streamed:
            return await http.post(url, BODY, {})
        async with aclosing(http.events(url, BODY, {})) as events:
            seen = [event async for event in events]
        return seen[0]

    async with raw_server(once) as url:
        http = client()
        http.open()
        # Several are idle at once: the second turn finds the first dead and lets the others go.
        for calls in (3, 1, 1):
            answers = await asyncio.gather(*(call(http, url) for _ in range(calls)))
            assert answers == [{"a": 1}] * calls
        await http.close()
    assert (connections, heard) == (5, 5)


async def test_a_new_connection_that_hangs_up_is_not_tried_again() -> None:
    heard = 0

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        await read_request(reader)
        heard += 1

    async with raw_server(never) as url:
        http = client()
        http.open()
        with pytest.raises(UpstreamError) as raised:
            await http.post(url, BODY, {})
        await http.close()
    assert (raised.value.kind, heard) == (Fault.UNREACHABLE, 1)


async def test_a_kept_connection_that_hangs_up_late_may_have_worked() -> None:
    """It is not asked twice for what it has been at for a while."""
    heard = 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        await read_request(reader)
        heard += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await read_request(reader)
        heard += 1
        await asyncio.sleep(0.3)

    async with raw_server(slow) as url:
        http = client(connect_timeout_s=0.1)
        http.open()
        await http.post(url, BODY, {})
        with pytest.raises(UpstreamError):
            await http.post(url, BODY, {})
        await http.close()
    assert heard == 2


async def test_health_is_asked_again_of_an_upstream_that_does_not_repeat_close() -> None:
    """It closes after each answer, as Python's http.server does, and says nothing of it."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"connection: close" in await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with raw_server(once) as url:
        http = client()
        http.open()
        assert [await http.get(url) for _ in range(3)] == [b"ok"] * 3
        await http.close()


@pytest.mark.parametrize("given", ["inf", "nan", "-inf", "1e400", "soon", ""])
def test_retry_after_is_finite(given: str) -> None:
    assert status_error(503, b"", given).retry_after is None


@pytest.mark.parametrize(("given", "seconds"), [("7", 7.0), ("-3", 0.0), ("1e300", 3600.0)])
def test_retry_after_is_bounded(given: str, seconds: float) -> None:
    assert status_error(503, b"", given).retry_after == seconds


def test_a_proxys_timeout_is_a_timeout() -> None:
    """A proxy that lost patience with the engine: asking again would wait as long."""
    error = status_error(504, b"<html>504 Gateway Time-out</html>", None)
    answered = policy_error(error)
    assert (answered.status, answered.code) == (504, "upstream_timeout")
    assert not answered.retryable


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 421, 426, 499])
def test_what_is_about_the_way_to_the_upstream_is_no_refusal(status: int) -> None:
    error = status_error(status, b'{"error": {"message": "x"}}', None)
    assert error.kind is Fault.FAILED
    assert policy_error(error).status == 502


@pytest.mark.parametrize(
    ("detail", "message", "param"),
    [
        ("Too long.", "Too long.", None),
        (
            [
                {
                    "loc": ["body", "messages", 0, "role"],
                    "msg": "Field required",
                    "input": "secret",
                },
                {"loc": ["query", "x"], "msg": "No"},
            ],
            "messages.0.role: Field required; query.x: No",
            "messages.0.role",
        ),
        ([{"msg": "No place"}], "No place", None),
        ([5, {"loc": 5}], "The upstream refused the request (422).", None),
        ({"a": 1}, "The upstream refused the request (422).", None),
        ("x" * 9999, "x" * 2000, None),
    ],
)
def test_the_detail_of_a_fastapi_refusal_is_kept(
    detail: object, message: str, param: str | None
) -> None:
    error = status_error(422, orjson.dumps({"detail": detail}), None)
    assert (error.message, error.param) == (message, param)
