"""What a web page may do, by the origins that the settings name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bon_gateway.edge.cors import Cors
from bon_gateway.sections.server import ServerSettings
from tests.bon_gateway.api.conftest import Serve, serve

__all__ = ["serve"]

GOOD, EVIL = "https://chat.example.org", "https://evil.example"
CHAT = "/v1/chat/completions"
HI = {"model": "best", "messages": [{"role": "user", "content": "hi"}]}
KEY = {"BON_GATEWAY_API_KEYS": "a:key-a-0123456789"}


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
    }


def settings(*origins: str) -> dict[str, Any]:
    return {"server": {"cors_origins": list(origins)}}


@pytest.mark.parametrize("environ", [{}, KEY])
async def test_a_preflight_needs_no_key(serve: Serve, environ: dict[str, str]) -> None:
    served = await serve(settings=settings(GOOD), environ=environ)
    answer = await served.http.options(CHAT, headers=preflight(GOOD))
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["access-control-allow-origin"] == GOOD
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].split(",")
    assert {"authorization", "content-type", "x-stainless-os"} == set(allowed)
    assert served.policy.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_may_be_read_with_its_headers(serve: Serve, stream: bool) -> None:
    served = await serve(settings=settings(GOOD, "http://localhost:3000"))
    answer = await served.http.post(CHAT, json={**HI, "stream": stream}, headers={"origin": GOOD})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == GOOD
    assert answer.headers["vary"] == "Origin"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    for name in answer.headers:
        assert name in exposed or not name.startswith("x-") or name == "x-accel-buffering"


async def test_what_is_left_of_a_budget_may_be_read(serve: Serve) -> None:
    limits = {"requests_per_key": 9, "tokens_per_key": 999}
    served = await serve(settings={**settings(GOOD), "limits": limits}, environ=KEY)
    headers = {"origin": GOOD, "authorization": "Bearer key-a-0123456789"}
    answer = await served.http.post(CHAT, json=HI, headers=headers)
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    told = [name for name in answer.headers if name.startswith("x-ratelimit-")]
    assert len(told) == 6
    assert set(told) < set(exposed)


async def test_an_error_may_be_read_too(serve: Serve) -> None:
    served = await serve(settings=settings(GOOD), environ=KEY)
    for answer in (
        await served.http.post(CHAT, json=HI, headers={"origin": GOOD}),
        await served.http.get("/v1/models", headers={"origin": GOOD}),
        await served.http.get("/nope", headers={"origin": GOOD}),
    ):
        assert answer.status_code in (401, 404)
        assert answer.headers["access-control-allow-origin"] == GOOD


@pytest.mark.parametrize("origins", [(), (GOOD,)])
@pytest.mark.parametrize("origin", [EVIL, "null", f"{GOOD}.evil.example", f"{GOOD}:8443"])
async def test_no_other_page_is_let_in(serve: Serve, origins: tuple[str, ...], origin: str) -> None:
    served = await serve(settings=settings(*origins))
    asked = await served.http.options(CHAT, headers=preflight(origin))
    assert asked.status_code == 405
    answer = await served.http.post(CHAT, json=HI, headers={"origin": origin})
    for seen in (asked, answer):
        assert not any(name.startswith("access-control-") for name in seen.headers)


async def test_a_star_lets_every_page_in(serve: Serve) -> None:
    served = await serve(settings=settings("*"))
    asked = await served.http.options(CHAT, headers=preflight(EVIL))
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "*"
    assert "authorization" in asked.headers["access-control-allow-headers"]


async def test_options_that_is_no_preflight_is_405(serve: Serve) -> None:
    served = await serve(settings=settings(GOOD))
    answer = await served.http.options(CHAT, headers={"origin": GOOD})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_asked_headers_that_are_no_names_are_not_repeated() -> None:
    headers = Cors([GOOD]).preflight(GOOD.encode(), b"a\x00b")
    assert headers is not None
    assert b"access-control-allow-headers" not in dict(headers)


@pytest.mark.parametrize(
    "origin", ["chat.example.org", "https://chat.example.org/", "https://a/b", "", "https://u@a"]
)
def test_what_is_no_origin_is_no_setting(origin: str) -> None:
    with pytest.raises(ValidationError):
        ServerSettings(cors_origins=(origin,))
