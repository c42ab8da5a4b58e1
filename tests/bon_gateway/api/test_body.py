"""What a body may be and what it may cost, before anything is made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_gateway.api import body as door
from bon_gateway.api.body import read_json
from bon_gateway.errors import BadRequestError
from tests.bon_gateway.api.conftest import Serve
from tests.integration.gateway import Gateway
from tests.integration.probing import probing
from tests.integration.processes import Processes

MEGABYTES = 8_000_000
CHAT = "/v1/chat/completions"


def read(data: bytes, max_values: int = 100_000) -> Any:
    messages = iter([{"type": "http.request", "body": data, "more_body": False}])

    async def receive() -> Any:
        return next(messages)

    scope = {"headers": [(b"content-type", b"application/json")]}
    return asyncio.run(read_json(scope, receive, max_values))


@pytest.mark.parametrize("values", [999, 1000])
def test_a_body_with_too_many_values_is_refused(values: int) -> None:
    data = orjson.dumps(["a,b,c[{" for _ in range(values)])
    if values < 1000:
        assert len(read(data, max_values=1000)) == values
    else:
        with pytest.raises(BadRequestError, match="more than 1000 values"):
            read(data, max_values=1000)


def test_a_text_full_of_commas_is_one_value() -> None:
    text = ',[{"\\' * 500_000
    assert read(orjson.dumps({"text": text}), max_values=10) == {"text": text}


@pytest.mark.parametrize(("levels", "taken"), [(door.DEPTH, True), (door.DEPTH + 1, False)])
@pytest.mark.parametrize("wide", [1, 400])
def test_depth(levels: int, taken: bool, wide: int) -> None:
    deep: Any = 1
    for _ in range(levels - 1):
        deep = {"a": deep} if levels % 2 else [deep]
    data = orjson.dumps([deep, *[[]] * wide])
    if taken:
        assert len(read(data)) == 1 + wide
    else:
        with pytest.raises(BadRequestError, match="nested deeper than 200"):
            read(data)


@given(
    st.integers(-(10**25), 10**25)
    | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**300])
)
def test_an_integer_arrives_as_it_was_sent_or_not_at_all(number: int) -> None:
    digits = str(number)
    data = f'{{"a": [{digits}, "{digits}"]}}'.encode()
    if -(2**63) <= number < 2**64:
        assert read(data) == {"a": [number, digits]}
    else:
        with pytest.raises(BadRequestError, match="does not fit 64 bits"):
            read(data)


def test_long_digits_elsewhere_are_no_integers() -> None:
    data = b'{"a": "99999999999999999999999", "b": 0.12345678901234567890123, "c": 1e22}'
    assert read(data) == {"a": "9" * 23, "b": 0.12345678901234567890123, "c": 1e22}


@pytest.mark.parametrize(
    ("content_type", "taken"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON ;charset=utf-8", True),
        ("application/vnd.api+json", True),
        ("text/plain", False),
        ("text/plain;application/json", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=application/json", False),
        ("application/jsonp", False),
        ("", False),
        (None, False),
    ],
)
async def test_only_a_body_declared_as_json_is_read(
    serve: Serve, content_type: str | None, taken: bool
) -> None:
    """A browser lets any page send the others to this machine without asking."""
    served = await serve()
    body = orjson.dumps({"model": "best", "messages": [{"role": "user", "content": "hi"}]})
    headers = {"origin": "http://evil.example"}
    if content_type is not None:
        headers["content-type"] = content_type
    answer = await served.http.post(CHAT, content=body, headers=headers)
    if taken:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 415
        assert answer.json()["error"]["code"] == "unsupported_media_type"
        assert served.policy.requests == []


# One client at its worst -----------------------------------------------------------------------

SETTINGS = {
    "policies": {"p": {"type": "vllm", "urls": ["http://127.0.0.1:1"]}},
    "models": {"m": {"policy": "p", "strategy": {"type": "single"}}},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A gateway in a process of its own, so that making the bodies does not slow it."""
    running = Gateway(Processes(tmp_path_factory.mktemp("door")), SETTINGS)
    try:
        running.wait_listening()
        yield running.url, running.process.pid
    finally:
        running.process.stop()


def filled(head: bytes, unit: bytes, tail: bytes, size: int = MEGABYTES) -> bytes:
    return head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail


X = b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":'
WORST = {
    "lists": filled(X + b"[", b"[],", b"1]}"),
    "lists under the limit": filled(X + b"[", b"[],", b"1]}", 140_000),
    "objects": filled(X + b"[", b'{"":0},', b"1]}"),
    "numbers": filled(X + b"[", b"1,", b"1]}"),
    "long numbers": filled(X + b"[", b"1234567890123456789,", b"1]}", 1_800_000),
    "short texts": filled(X + b"[", b'"",', b"1]}"),
    "one text": filled(X + b'"', b"a", b'"}'),
    "commas in a text": filled(X + b'"', b",", b'"}'),
    "quotes in a text": filled(X + b'"', b'\\",', b'"}'),
    "backslashes": filled(X + b'"', b"\\\\,", b'"}'),
    "depth": filled(X, b"[", b""),
    "messages": filled(b'{"model":"m","messages":[', b'{"role":"u","content":""},', b"1]}"),
    "broken messages": filled(b'{"model":"m","messages":[', b"1,", b"1]}", 200_000),
    "tools": filled(X + b'1,"tools":[', b'{"function":{"name":"a"}},', b"1]}", 1_200_000),
    "broken tools": filled(X + b'1,"tools":[', b"1,", b"1]}", 190_000),
    "parts": filled(
        b'{"model":"m","messages":[{"role":"user","content":[', b'{"a":1},', b"1]}]}", 350_000
    ),
}


@pytest.mark.parametrize("worst", WORST)
def test_livez_answers_while_one_client_does_its_worst(
    gateway: tuple[str, int], worst: str
) -> None:
    url, pid = gateway
    headers = {"content-type": "application/json"}
    with probing(url.removeprefix("http://"), pid) as longest:
        answer = httpx.post(url + CHAT, content=WORST[worst], headers=headers, timeout=60)
        took = longest()
    assert answer.status_code in (400, 503)
    assert took < 0.1
