"""vLLM stops generating as soon as nobody wants the rest: the client left, the deadline came, or
enough others have finished. vLLM's own counters are the witness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.conftest import FAN_OUTS, Engines
from tests.integration.engines import Generator
from tests.integration.gateway import Gateway, leave
from tests.integration.patience import up_to_five_times
from tests.integration.prompts import LONG, word_that_splits
from tests.waiting import eventually

pytestmark = pytest.mark.vllm
N = 16
CLIENTS = 16
INTERVAL = 16
"""Tokens that may have come since vLLM last told how many there are."""
LATENCY = 96
"""Tokens that a candidate may get while its abort is on its way: some 0.2 s on a busy machine,
a few milliseconds on an idle one."""


@pytest.fixture(autouse=True)
async def done(gateway: Gateway, engines: Engines) -> AsyncIterator[None]:
    """Whatever the test does, the gateway and vLLM have nothing left to do for it."""
    yield
    await asyncio.to_thread(gateway.wait_done)
    assert engines.generator.running == 0


@pytest.fixture(autouse=True, scope="module")
def no_connection_is_kept(gateway: Gateway, engines: Engines) -> Iterator[None]:
    yield
    gateway.wait_idle(*engines.ports)


async def stopped(generator: Generator, since: float) -> float:
    """Tokens generated since then, once vLLM has nothing to do any more."""
    await eventually(lambda: generator.running == 0, 10, "vLLM is idle")
    return generator.generated - since


def discarded(gateway: Gateway, model: str) -> float:
    return gateway.metric("bon_tokens_total", model=model, kind="discarded")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fan_out", FAN_OUTS)
@up_to_five_times
async def test_a_client_that_leaves(
    gateway: Gateway, engines: Engines, fan_out: str, stream: bool
) -> None:
    """A deadline far away has the gateway count the tokens of candidates that still run."""
    generator, model = engines.generator, f"reward_server-{fan_out}"
    before, counted = generator.generated, discarded(gateway, model)
    request = asyncio.create_task(
        gateway.chat(model=model, stream=stream, **LONG, bon={"n": N, "deadline_ms": 60_000})
    )
    await eventually(lambda: generator.generated > before + N * INTERVAL, 20, "it generates")
    await leave(request)
    generated = await stopped(generator, before)
    assert generated < 0.7 * N * LONG["max_tokens"]
    await eventually(lambda: discarded(gateway, model) > counted, 5, "it is counted")
    reported = discarded(gateway, model) - counted
    print(f"{fan_out}, stream {stream}: vLLM {generated}, reported {reported}")
    assert reported <= generated <= reported + N * (INTERVAL + LATENCY)


@up_to_five_times
async def test_clients_that_leave_a_single_pass(gateway: Gateway, engines: Engines) -> None:
    """Several at once, because one alone is generated faster than its tokens are passed on."""
    generator = engines.generator
    before, counted = generator.generated, discarded(gateway, "one")

    async def read_a_little() -> None:
        body = {"model": "one", "stream": True, **LONG}
        async with (
            gateway.client() as client,
            client.stream("POST", "/v1/chat/completions", json=body) as answer,
        ):
            lines = answer.aiter_lines()
            for _ in range(20):
                await anext(lines)

    await asyncio.gather(*(read_a_little() for _ in range(CLIENTS)))
    generated = await stopped(generator, before)
    assert generated < 0.7 * CLIENTS * LONG["max_tokens"]
    await eventually(lambda: discarded(gateway, "one") > counted, 5, "it is counted")
    reported = discarded(gateway, "one") - counted
    print(f"single pass: vLLM {generated}, reported {reported}")
    assert reported <= generated <= reported + CLIENTS * LATENCY


@pytest.mark.parametrize("fan_out", FAN_OUTS)
@up_to_five_times
async def test_the_deadline(gateway: Gateway, engines: Engines, fan_out: str) -> None:
    """Nothing has arrived when it comes, so that it is an error; and at once."""
    generator, model = engines.generator, f"reward_server-{fan_out}"
    before, counted = generator.generated, discarded(gateway, model)
    started = time.monotonic()
    answer = await gateway.chat(model=model, **LONG, bon={"n": N, "deadline_ms": 400})
    assert time.monotonic() - started < 2
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    generated = await stopped(generator, before)
    assert generated < 0.7 * N * LONG["max_tokens"]
    reported = discarded(gateway, model) - counted
    print(f"{fan_out}: vLLM {generated}, reported {reported}")
    assert reported <= generated <= reported + N * (INTERVAL + LATENCY)


@up_to_five_times
async def test_the_deadline_of_a_single_pass(gateway: Gateway, engines: Engines) -> None:
    generator = engines.generator
    before = generator.generated
    answers = await asyncio.gather(
        *(gateway.chat(model="one", **LONG, bon={"deadline_ms": 300}) for _ in range(CLIENTS))
    )
    assert {answer.status_code for answer in answers} == {504}
    assert await stopped(generator, before) < 0.7 * CLIENTS * LONG["max_tokens"]


@pytest.mark.parametrize("fan_out", FAN_OUTS)
@up_to_five_times
async def test_losers(gateway: Gateway, engines: Engines, fan_out: str) -> None:
    """A stop word that some of eight candidates say early has them finish; the others lose."""
    generator = engines.generator
    whole = generator.chat({**LONG, "n": 8})
    word, early = word_that_splits([c["message"]["content"] for c in whole["choices"]])
    bon = {"strategy": "first_k", "n": early, "spare": 8 - early}
    before = generator.generated
    answer = await gateway.chat(model=f"reward_server-{fan_out}", **LONG, stop=[word], bon=bon)
    generated = await stopped(generator, before)
    assert answer.status_code == 200, answer.text
    candidates = answer.json()["bon"]["candidates"]
    finished = [c for c in candidates if c["status"] == "finished"]
    cut = [c for c in candidates if c["status"] == "rejected"]
    assert len(finished) == early
    assert len(finished) + len(cut) == 8
    assert {c["reason"] for c in cut} == {"straggler"}
    assert answer.json()["bon"]["degraded"] is None
    assert answer.json()["bon"]["reward"] == max(c["reward"] for c in finished)
    reported = answer.json()["usage"]["completion_tokens"]
    assert reported == sum(c["tokens"] for c in candidates)
    print(f"{fan_out}: vLLM {generated}, reported {reported}, {word!r} ends {early}")
    for_the_cut = generated - sum(c["tokens"] for c in finished)
    assert for_the_cut < 0.7 * len(cut) * LONG["max_tokens"]
    assert reported <= generated <= reported + len(cut) * (INTERVAL + LATENCY)
