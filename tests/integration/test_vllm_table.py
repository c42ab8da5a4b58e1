"""What vLLM's OpenAI API promises holds at vLLM, through `single`, which answers as vLLM does field
for field, and through `best_of_n`, but for what docs/api.md names.

Everything is asked before the first test looks at it, many at a time: one after the other would
take minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.integration.conftest import Engines
from tests.integration.engines import MODEL
from tests.integration.gateway import Gateway
from tests.integration.prompts import ask as prompt
from tests.integration.vllm_answers import Answer, about, ask, comparable, fields
from tests.integration.vllm_refusals import REFUSALS, Refusal
from tests.integration.vllm_table import (
    ALONE,
    LOGPROB_CASES,
    MESSAGES,
    SAMPLING,
    STREAMED,
    STRUCTURED,
    TOOLS,
    WORDS,
    Case,
)

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(500)]

API = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
TOGETHER = (*SAMPLING, *LOGPROB_CASES, *MESSAGES, *STRUCTURED, *TOOLS, *STREAMED)
CASES = (*TOGETHER, *ALONE)
COMMON = {"messages": prompt(), "seed": 5, "max_tokens": WORDS}
SERVERS: dict[str, dict[str, Any]] = {
    "vllm": {"model": MODEL},
    "single": {"model": "one"},
    "best_of_n": {"model": "reward_server-separate", "bon": {"n": 2}},
}
AT_ONCE = 24
LEFT_OUT = {
    *(f"choices.message.{name}" for name in ("annotations", "audio", "function_call")),
    *(f"usage.{name}" for name in ("prompt_tokens_details", "completion_tokens_details")),
}
"""Nulls of vLLM's that the gateway does not have, see docs/api.md."""
RAW = [
    (b"[]", 400),
    (b'"x"', 400),
    (b"5", 400),
    (b"null", 400),
    (b"{", 400),
    (b"", 400),
    (b'{"model": "demo"}', 400),
]
Asked = Callable[[Case | Refusal, str, bool], Answer]


def forms(case: Case | Refusal) -> tuple[bool, ...]:
    """Whole, streamed, or both."""
    if "stream" in case.body:
        return (True,)
    return (False, True) if isinstance(case, Case) and case.streams else (False,)


def body_of(case: Case | Refusal, server: str, stream: bool) -> dict[str, Any]:
    body = {**COMMON, **SERVERS[server], **case.body}
    if stream and "stream" not in case.body:
        # With what a whole answer tells too.
        body = {"stream_options": {"include_usage": True}, **body, "stream": True}
    return body


async def ask_all(urls: Mapping[str, str]) -> Asked:
    limit = asyncio.Semaphore(AT_ONCE)
    answers: dict[bytes, Answer] = {}

    def key(case: Case | Refusal, server: str, stream: bool) -> bytes:
        return orjson.dumps([server, orjson.dumps(body_of(case, server, stream)).decode()])

    async with httpx.AsyncClient(timeout=200, verify=False) as http:

        async def one(asked: bytes) -> None:
            server, body = orjson.loads(asked)
            async with limit:
                answers[asked] = await ask(http, urls[server], orjson.loads(body))

        async def some(cases: Iterable[Case | Refusal]) -> None:
            wanted = {key(c, server, s) for c in cases for s in forms(c) for server in SERVERS}
            await asyncio.gather(*map(one, sorted(wanted)))

        await some((*TOGETHER, *REFUSALS))
        await some(ALONE)
    return lambda case, server, stream: answers[key(case, server, stream)]


@pytest.fixture(scope="module")
def asked(engines: Engines, gateway: Gateway) -> Asked:
    vllm = engines.generator.url
    return asyncio.run(ask_all({"vllm": vllm, "single": gateway.url, "best_of_n": gateway.url}))


def of_cases(cases: Iterable[Case]) -> pytest.MarkDecorator:
    each = [(case, stream) for case in cases for stream in forms(case)]
    names = [f"{case.name}-{'streamed' if stream else 'whole'}" for case, stream in each]
    return pytest.mark.parametrize(("case", "stream"), each, ids=names)


@of_cases(CASES)
@pytest.mark.parametrize("server", SERVERS)
def test_it_is_as_expected(asked: Asked, server: str, case: Case, stream: bool) -> None:
    answer = asked(case, server, stream)
    if server in case.refused:
        assert (answer.status, answer.body["param"]) == (400, case.param), answer.body
        return
    assert answer.status == 200, answer.body
    field = case.best_field if case.best_field and server == "best_of_n" else case.field
    if not stream or case.same_streamed:
        assert case.expected(answer.at(field)), answer.body


@of_cases(case for case in CASES if "single" not in case.refused)
def test_single_answers_as_vllm_does(asked: Asked, case: Case, stream: bool) -> None:
    direct, single = (asked(case, server, stream) for server in ("vllm", "single"))
    assert comparable(single) == about(comparable(direct))
    if not stream:
        assert fields(direct.body) - fields(single.body) <= LEFT_OUT


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
@pytest.mark.parametrize("server", SERVERS)
def test_it_is_refused(asked: Asked, server: str, refusal: Refusal) -> None:
    answer = asked(refusal, server, "stream" in refusal.body)
    if server in refusal.taken:
        assert answer.status == 200, answer.body
        return
    told = (answer.status, answer.body.get("param"))
    assert told == (refusal.status, refusal.named_by(server)), answer.body


def test_every_difference_is_documented() -> None:
    for case in CASES:
        assert bool(case.docs) == bool(case.best_field or case.refused), case.name
        assert case.docs in API, case.name
    for refusal in REFUSALS:
        assert bool(refusal.docs) == bool(refusal.taken), refusal.name
        assert refusal.docs in API, refusal.name
    for name in LEFT_OUT:
        assert f"`{name.rpartition('.')[2]}`" in API


@pytest.mark.parametrize(("content", "status"), RAW, ids=str)
async def test_a_body_that_is_no_request(
    engines: Engines, gateway: Gateway, content: bytes, status: int
) -> None:
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(verify=False) as http:
        for url in (engines.generator.url, gateway.url):
            answer = await http.post(f"{url}/v1/chat/completions", content=content, headers=headers)
            assert (answer.status_code, "error" in answer.json()) == (status, True), answer.text


async def test_the_other_paths(engines: Engines, gateway: Gateway) -> None:
    paths = ("/v1/models", "/health", "/version", "/nope", "/v1/chat/completions")
    async with httpx.AsyncClient(verify=False) as http:
        vllm = {path: await http.get(f"{engines.generator.url}{path}") for path in paths}
        ours = {path: await http.get(f"{gateway.url}{path}") for path in paths}
    assert {path: answer.status_code for path, answer in ours.items()} == {
        path: answer.status_code for path, answer in vllm.items()
    }
    models, theirs = (answers["/v1/models"].json() for answers in (ours, vllm))
    assert models["object"] == theirs["object"]
    assert {model["object"] for model in models["data"]} == {theirs["data"][0]["object"]}
    assert {"id", "object", "created", "owned_by"} <= models["data"][0].keys()
    assert ours["/version"].json().keys() == vllm["/version"].json().keys()
