"""Caches through the whole app: one upstream, and how often it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from bon_gateway.api.caching import cache_use
from bon_gateway.app import ServingApp, create_app
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import CacheUse
from tests.bon_gateway.api.serving import client_of

KEYS = "alice:alice-secret-1,bob:bob-secret-2"


@asynccontextmanager
async def serving(
    *, policy: Any = None, reward: Any = None, keys: str | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, FakeUpstream, ServingApp]]:
    async with FakeUpstream() as upstream:
        settings = Settings.model_validate(
            {
                "policies": {"p": {"type": "vllm", "urls": [upstream.url], "cache": policy}},
                "rewards": {
                    "r": {"type": "reward_server", "urls": [upstream.url], "cache": reward}
                },
                "models": {
                    "best": {
                        "policy": "p",
                        "reward": "r",
                        "strategy": {"type": "best_of_n", "n": 4},
                    },
                    "one": {"policy": "p", "strategy": {"type": "single"}},
                },
            }
        )
        environ = {} if keys is None else {"BON_GATEWAY_API_KEYS": keys}
        app = create_app(settings, environ=environ)
        async with client_of(app) as http:
            upstream.calls.clear()
            yield http, upstream, app


async def chat(http: httpx.AsyncClient, headers: Any = None, **body: Any) -> dict[str, Any]:
    asked = {"model": "best", "messages": [{"role": "user", "content": "hi"}], **body}
    response = await http.post("/v1/chat/completions", json=asked, headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def count(upstream: FakeUpstream, path: str) -> int:
    return sum(1 for call in upstream.calls if call.path.endswith(path))


async def test_nothing_is_kept_by_default() -> None:
    async with serving() as (http, upstream, _):
        for _ in range(2):
            answer = await chat(http)
            assert not any("cached" in one for one in answer["bon"]["candidates"])
        assert count(upstream, "completions") == 2
        assert count(upstream, "score") >= 2


async def test_the_same_request_is_not_drawn_again() -> None:
    async with serving(policy={}, reward={}) as (http, upstream, app):
        first = await chat(http)
        asked = len(upstream.calls)
        second = await chat(http)
        assert len(upstream.calls) == asked
        assert first["choices"] == second["choices"]
        told = [one.pop("cached") for one in second["bon"]["candidates"]]
        assert told == [True] * 4
        assert first["bon"]["candidates"] == second["bon"]["candidates"]
        assert len({one["reward"] for one in second["bon"]["candidates"]}) > 1
        # Nothing was paid the second time.
        assert first["usage"]["completion_tokens"] > 0
        assert second["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        assert second["bon"]["usage"]["reward_tokens"] == 0
        metrics = (await http.get("/metrics")).text
        assert 'bon_cache_lookups_total{cache="policies.p",outcome="hit"} 4.0' in metrics
        assert 'bon_cache_lookups_total{cache="rewards.r",outcome="hit"} 4.0' in metrics
        generated = first["usage"]["completion_tokens"]
        found = app.state.metrics.registry.get_sample_value
        kinds = [
            found("bon_tokens_total", {"model": "best", "kind": k}) for k in ("winner", "discarded")
        ]
        assert sum(kinds) == generated


async def test_more_candidates_are_drawn_beside_those_that_are_kept() -> None:
    async with serving(policy={}) as (http, upstream, _):
        await chat(http, bon={"n": 2})
        upstream.calls.clear()
        answer = await chat(http, bon={"n": 5})
        assert [one.get("cached", False) for one in answer["bon"]["candidates"]] == [
            True,
            True,
            False,
            False,
            False,
        ]
        (call,) = [call for call in upstream.calls if call.path.endswith("completions")]
        assert call.body["n"] == 3
        assert answer["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize(
    ("header", "anew", "kept"),
    [("no-store", True, False), ("No-Cache, x", True, True), ("max-age=0", False, True)],
)
async def test_cache_control_is_honoured(header: str, anew: bool, kept: bool) -> None:
    """``anew``: it draws although another request left candidates. ``kept``: it leaves its own."""
    async with serving(policy={}) as (http, upstream, _):
        await chat(http)
        await chat(http, {"cache-control": header})
        assert count(upstream, "completions") == 1 + anew
        upstream.calls.clear()
        await chat(http, {"cache-control": header}, temperature=0.5)
        await chat(http, temperature=0.5)
        assert count(upstream, "completions") == (1 if kept else 2)


async def test_callers_get_nothing_of_each_others() -> None:
    async with serving(policy={}, keys=KEYS) as (http, upstream, _):
        for key in ("alice-secret-1", "bob-secret-2"):
            await chat(http, {"authorization": f"Bearer {key}"})
        assert count(upstream, "completions") == 2
        await chat(http, {"authorization": "Bearer alice-secret-1"})
        assert count(upstream, "completions") == 2


async def test_callers_share_if_the_settings_say_so() -> None:
    async with serving(policy={"shared": True}, keys=KEYS) as (http, upstream, _):
        for key in ("alice-secret-1", "bob-secret-2"):
            await chat(http, {"authorization": f"Bearer {key}"})
        assert count(upstream, "completions") == 1


async def test_a_stream_of_one_candidate_is_not_kept() -> None:
    async with serving(policy={}) as (http, upstream, _):
        body = {"model": "one", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        for _ in range(2):
            response = await http.post("/v1/chat/completions", json=body)
            assert "[DONE]" in response.text
        assert count(upstream, "completions") == 2
        await chat(http, model="one")
        assert count(upstream, "completions") == 3
        await chat(http, model="one")
        assert count(upstream, "completions") == 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], CacheUse("k")),
        ([b"no-store"], CacheUse("k", read=False, store=False)),
        ([b"NO-CACHE"], CacheUse("k", read=False)),
        ([b"max-age=0, no-cache"], CacheUse("k", read=False)),
        ([b"no-cache", b"no-store"], CacheUse("k", read=False, store=False)),
        ([b"max-age=0", b"only-if-cached"], CacheUse("k")),
        ([b"\xff,no-stores"], CacheUse("k")),
    ],
)
def test_the_header_is_read(values: list[bytes], expected: CacheUse) -> None:
    headers = [(b"accept", b"no-store"), *((b"cache-control", value) for value in values)]
    assert cache_use(headers, "k") == expected
    assert cache_use([], None) == CacheUse("")
