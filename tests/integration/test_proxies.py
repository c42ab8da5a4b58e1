"""nginx and haproxy around the gateway: before it, and between it and what it calls.

A user's answer passes both. What neither may change is what the client gets, whom an answer is
for, and that nothing runs for a client that left.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator

import pytest

from tests.bon_common.http.app import connect
from tests.integration.processes import Processes
from tests.integration.proxied import (
    SECRET,
    SENT_BEFORE_HANGING,
    WORDS,
    World,
    ask,
    begin_stream,
    chat_body,
    chat_bytes,
    head,
    proxied,
    read_answer,
    read_until,
)
from tests.integration.reverse_proxies import (
    IDLE_S,
    KINDS,
    MOST_BODY,
    PAGES,
)
from tests.waiting import wait_until

FIRST_WORDS = WORDS.split()[:SENT_BEFORE_HANGING]
MEGABYTE = 1_000_000


@pytest.fixture(scope="module", params=KINDS)
def world(
    request: pytest.FixtureRequest, passing: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with proxied(request.param, passing, tmp_path_factory) as world:
        yield world


@pytest.fixture(autouse=True)
def nothing_stays(world: World) -> Iterator[None]:
    """Whatever a test does, nothing is left in flight."""
    world.upstream.calls.clear()
    yield
    world.done()


# ------------------------------------------------------------------ streams


@pytest.mark.parametrize("of", ["port", "plain_port"])
def test_a_stream_arrives_token_by_token(world: World, of: str) -> None:
    """The upstream has sent three tokens and says no more: all three must be here."""
    with connect(getattr(world.front, of)) as client:
        begin_stream(client, "hang")
        got = read_until(client, *(word.encode() for word in FIRST_WORDS))
        assert b"text/event-stream" in got
        # Either would have pushed out what a proxy keeps back.
        assert b": waiting" not in got
        assert b'"error"' not in got
    wait_until(lambda: world.upstream.running == 0)


def test_nginx_keeps_a_stream_back_unless_it_is_asked_not_to(world: World) -> None:
    """So the test before would fail without the gateway's ``x-accel-buffering: no``."""
    if world.kind != "nginx":
        pytest.skip("haproxy does not keep answers back")
    with connect(world.front.stubborn_port) as client:
        client.settimeout(1.5)
        begin_stream(client, "hang")
        with pytest.raises(TimeoutError):
            read_until(client, FIRST_WORDS[-1].encode())


def test_comments_pass_while_candidates_are_drawn(world: World) -> None:
    with connect(world.front.port) as client:
        begin_stream(client, "hang", "best")
        read_until(client, b": waiting")


@pytest.mark.parametrize("model", ["echo", "best", "best-together"])
def test_a_streamed_answer_is_whole(world: World, model: str) -> None:
    text = f"first second {SECRET} " * 50
    answer = ask(world.front.port, text, model=model, stream=True)
    events = [line[6:] for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    deltas = [json.loads(event)["choices"] for event in events[:-1]]
    assert "".join(c[0]["delta"].get("content") or "" for c in deltas if c) == text


# ------------------------------------------------------------------ leaving


@pytest.mark.parametrize("model", ["echo", "best", "best-together"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_the_upstream(world: World, model: str, stream: bool) -> None:
    aborted = world.upstream.aborted
    calls = 3 if model == "best" else 1
    with connect(world.front.port) as client:
        client.sendall(chat_bytes("hang", "a-leaver", model, stream=stream))
        wait_until(lambda: world.upstream.running == calls)
    wait_until(lambda: world.upstream.running == 0)
    assert world.upstream.aborted == aborted + calls
    assert world.log_lines("a-leaver")[-1]["status"] == 499


# ------------------------------------------------------------------ connections


def test_connections_are_used_again_on_both_sides(world: World) -> None:
    world.gateway.wait_idle(world.between.port)
    with connect(world.front.port) as client:
        for number in range(20):
            client.sendall(chat_bytes(f"number {number}", f"again-{number}"))
            answer = read_answer(client)
            assert answer.text == f"number {number}"
            assert answer.headers["x-request-id"] == f"again-{number}"
        # If the machine halts for a second, the proxy closes the first.
        assert world.gateway.connections([world.between.port]) <= 2
    assert [len(world.calls(f"again-{number}-")) for number in range(20)] == [1] * 20


def test_a_proxy_that_closes_idle_connections_costs_nothing(world: World) -> None:
    """The proxy between closes what is idle for a second, where the gateway would keep it for
    four. Each request comes at about the moment at which that happens."""
    with connect(world.front.port) as client:
        for number in range(4):
            client.sendall(chat_bytes(f"number {number}", f"idle-{number}"))
            assert read_answer(client).text == f"number {number}"
            time.sleep(IDLE_S - 0.002 + 0.001 * number)
    assert [len(world.calls(f"idle-{number}-")) for number in range(4)] == [1] * 4
    assert all(
        line["message"] == "request"
        for number in range(4)
        for line in world.log_lines(f"idle-{number}")
    )


def test_an_upstream_that_closes_behind_the_proxy(world: World) -> None:
    """The proxy's connections are dead, and the gateway's to the proxy are not."""
    assert ask(world.front.port, "before").text == "before"
    world.restart_upstream()
    answers = [ask(world.front.port, f"after {number}", model="best") for number in range(5)]
    assert [answer.text for answer in answers] == [f"after {number}" for number in range(5)]
    assert [answer.json["bon"]["degraded"] for answer in answers] == [None] * 5


# ------------------------------------------------------------------ sizes and bodies


def test_large_bodies_both_ways(world: World) -> None:
    text = " ".join(["w" * 100_000] * 30)
    answer = ask(world.front.port, text, model="best-together")
    assert answer.text == text


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_413(world: World, chunked: bool) -> None:
    """And the client that still writes sees it."""
    connection = http.client.HTTPConnection("127.0.0.1", world.front.port, timeout=20)
    body = b" " * MEGABYTE
    headers = {"content-type": "application/json"}
    pieces = (body for _ in range(12))
    try:
        if chunked:
            headers["transfer-encoding"] = "chunked"
            connection.request("POST", "/v1/chat/completions", pieces, headers, encode_chunked=True)
        else:
            headers["content-length"] = str(12 * MEGABYTE)
            connection.request("POST", "/v1/chat/completions", pieces, headers)
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["error"]["code"] == "body_too_large"
    finally:
        connection.close()
    assert ask(world.front.port, "still there").text == "still there"


def test_a_chunked_body_is_read_to_its_end(world: World) -> None:
    body = chat_body("in pieces")
    pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    with connect(world.front.port) as client:
        for _ in range(2):
            client.sendall(head("Transfer-Encoding: chunked") + chunks)
            client.sendall(b"0\r\nx-trailer: y\r\n\r\n")
            assert read_answer(client).text == "in pieces"


def test_a_client_that_waits_for_100_is_told_to_go_on(world: World) -> None:
    body = chat_body("worth the wait")
    with connect(world.front.port) as client:
        client.sendall(head(f"Content-Length: {len(body)}", "Expect: 100-continue"))
        read_until(client, b"100 Continue", b"\r\n\r\n")
        client.sendall(body)
        assert read_answer(client).text == "worth the wait"


def test_a_client_that_waits_for_100_is_refused_before_its_body(world: World) -> None:
    """By haproxy, which asks the gateway. nginx says 100 by itself."""
    with connect(world.front.port) as client:
        client.sendall(head(f"Content-Length: {20 * MEGABYTE}", "Expect: 100-continue"))
        got = read_until(client, b" 413 ", b"body_too_large")
    assert (b"100 Continue" in got) == (world.kind == "nginx")


@pytest.mark.parametrize("size", [60_000, 70_000, 200_000])
def test_the_limit_of_headers_holds_behind_a_proxy(world: World, size: int) -> None:
    expected = 200 if size < 65_000 else 431
    body = chat_body("with a cookie")
    with connect(world.front.port) as client:
        client.sendall(
            head(f"Content-Length: {len(body)}", "Cookie: " + "c" * size) + body,
        )
        answer = read_answer(client)
    assert answer.status == expected
    if expected == 431:
        assert answer.error["code"] == "request_header_fields_too_large"
    assert ask(world.front.port, "still there").text == "still there"


def test_head_has_no_body(world: World) -> None:
    """And what follows on the connection is the next answer."""
    with connect(world.front.port) as client:
        for path in ("/livez", "/readyz", "/v1/models", "/nothing"):
            client.sendall(head(method="HEAD", path=path))
            answer = read_answer(client, "HEAD")
            assert answer.body == b""
            assert int(answer.headers["content-length"]) > 0
            assert answer.status == (404 if path == "/nothing" else 200)
        client.sendall(chat_bytes("and a body", "after-head"))
        assert read_answer(client).text == "and a body"


@pytest.mark.parametrize("stream", [False, True])
def test_a_proxy_without_settings_will_do(world: World, stream: bool) -> None:
    answer = ask(world.front.plain_port, "old but well", stream=stream)
    assert answer.status == 200
    assert b"well" in answer.body
    assert ask(world.front.plain_port, "again", model="best").text == "again"


# ------------------------------------------------------------------ what the proxies say themselves


@pytest.mark.parametrize("model", ["echo", "best", "best-together"])
@pytest.mark.parametrize(
    ("page", "status", "code", "again"),
    [
        (302, 502, "upstream_error", True),
        (400, 400, "upstream_refused", False),
        (401, 502, "upstream_error", True),
        (403, 502, "upstream_error", True),
        (404, 502, "upstream_error", True),
        (429, 503, "upstream_overloaded", True),
        (500, 502, "upstream_error", True),
        (502, 502, "upstream_error", True),
        (503, 503, "upstream_overloaded", True),
        (504, 504, "upstream_timeout", False),
    ],
)
def test_a_page_of_the_proxy_between_is_an_error_object(
    world: World, model: str, page: int, status: int, code: str, again: bool
) -> None:
    name = f"page-{page}-{model}"
    answer = ask(
        world.front.port, "whatever", name, model=model, headers={"baggage": f"page-{page}"}
    )
    assert (answer.status, answer.error["code"]) == (status, code)
    assert "<" not in answer.body.decode()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == name
    assert ("retry-after" in answer.headers) == (status == 503)
    told = [line for line in world.log_lines(name) if line["message"] == "candidates failed"]
    if status != 400:
        assert bool(told[0]["again"]) == again
    assert world.calls(name) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_place_of_scores(world: World, page: int) -> None:
    """The fallback chooses and says so, or the client learns in JSON that it may come again."""
    page_header = {"baggage": f"page-{page}"}
    answer = ask(world.front.port, "said all the same", model="judged", headers=page_header)
    assert (answer.status, answer.text) == (200, "said all the same")
    lost = "reward_refused" if page == 400 else "reward_unavailable"
    assert answer.headers["x-bon-degraded"] == lost
    answer = ask(world.front.port, "refused", model="judged-strictly", headers=page_header)
    assert answer.status == (422 if page == 400 else 503)
    assert answer.error["code"].startswith("reward_")
    assert ("retry-after" in answer.headers) == (answer.status == 503)
    assert "<" not in answer.body.decode()


def test_its_413_is_the_clients(world: World) -> None:
    answer = ask(world.front.port, "x" * 2 * MOST_BODY, "too-large-for-it", model="small")
    assert answer.status == 413
    assert answer.error["type"] == "invalid_request_error"
    assert "<" not in answer.body.decode()


@pytest.mark.parametrize("model", ["echo", "best"])
def test_its_page_for_a_cut_connection_costs_a_second_draw(world: World, model: str) -> None:
    name = f"cut-once-{model}"
    answer = ask(world.front.port, "cut once", name, model=model)
    assert answer.text == "cut once"
    assert answer.json["bon"]["degraded"] is None
    assert len(world.calls(f"{name}-")) == 2 * (3 if model == "best" else 1)
    answer = ask(world.front.port, "cut", "always-cut", model=model)
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")


def test_its_page_for_an_upstream_that_hangs_is_a_timeout(world: World) -> None:
    answer = ask(world.front.port, "hang", "it-hangs")
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert len(world.calls("it-hangs-")) == 1


# ------------------------------------------------------------------ headers


def test_the_requests_id_passes_through_all(world: World) -> None:
    answer = ask(world.front.port, "whose", "its-own-id", model="best")
    assert answer.headers["x-request-id"] == "its-own-id"
    names = [call.headers["x-request-id"] for call in world.calls("its-own-id")]
    drawn = {f"its-own-id-{index}" for index in range(3)}
    assert set(names) == drawn | {"its-own-id"}  # the reward server's calls have it as it is


def test_nobody_is_believed_about_where_he_comes_from(world: World) -> None:
    """The access log names who holds the connection, which is the proxy."""
    forged = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "::1"}
    assert ask(world.front.port, "who", "forged", headers=forged).status == 200
    assert world.log_lines("forged")[-1]["client"] == "127.0.0.1"
    assert "203.0.113.9" not in world.gateway.process.output
    for call in world.calls("forged"):
        assert "203.0.113.9" not in str(call.headers)
