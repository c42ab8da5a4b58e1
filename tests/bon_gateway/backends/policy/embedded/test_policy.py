"""The whole policy: event loop on one side, worker thread on the other."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from bon_gateway.backends.policy.embedded.loading import LoadedModel
from bon_gateway.backends.policy.embedded.policy import TransformersPolicy
from bon_gateway.backends.policy.embedded.settings import TransformersPolicySettings
from bon_gateway.errors import (
    PolicyFailedError,
    PolicyOverloadedError,
    PolicyRefusedError,
    PolicyUnreachableError,
)
from bon_gateway.logprobs import Reading
from bon_gateway.protocols import PolicyBackend, Trace
from bon_gateway.strategies.signals import MeanLogprobSettings, SelfCertaintySettings
from bon_gateway.types import Completion, Delta
from tests.bon_gateway.backends.policy.embedded.kit import (
    CONTEXT,
    OpenPolicy,
    Watched,
    draw,
    ids_of,
    read,
    request,
    scripted,
    text_of,
)
from tests.bon_gateway.backends.support import drawing
from tests.bon_gateway.watches import StoppingWatch
from tests.waiting import until


def observed(loaded: LoadedModel, permits: int | None = None) -> tuple[LoadedModel, Watched]:
    network = Watched(loaded.network, permits=permits)
    return dataclasses.replace(loaded, network=network, context=None), network


async def test_it_is_a_policy_backend(open_policy: OpenPolicy) -> None:
    policy: PolicyBackend = await open_policy()
    assert policy.ready()
    assert set(policy.health().values()) == {"up"}


@pytest.mark.parametrize(
    "client",
    [{}, {"logprobs": True}, *({"logprobs": True, "top_logprobs": top} for top in (1, 9))],
)
async def test_a_signal_measures_and_changes_nothing_else(
    open_policy: OpenPolicy, client: dict[str, Any]
) -> None:
    policy = await open_policy()
    asked = request(max_tokens=12, **client)
    every = request(max_tokens=12, logprobs=True, top_logprobs=5)
    plain, full = [await draw(policy, each, 3, Trace()) for each in (asked, every)]
    for settings in (
        MeanLogprobSettings(),
        SelfCertaintySettings(type="self_certainty", top_logprobs=4),
    ):
        signal = settings.build()
        seen = await draw(policy, structs.replace(asked, signal=signal), 3, Trace())
        for index, outcome in seen.items():
            whole = full[index]
            assert isinstance(outcome, Completion)
            assert isinstance(whole, Completion)
            assert structs.replace(outcome, confidence=None) == plain[index]
            reading = Reading(signal)
            reading.add(whole.logprobs)
            assert outcome.confidence == pytest.approx(reading.confidence)
            assert outcome.confidence is not None


async def test_candidates_come_with_their_seeds(open_policy: OpenPolicy) -> None:
    policy = await open_policy()
    trace = Trace()
    together = await draw(policy, request(seed=7, max_tokens=20), 4, trace)
    assert sorted(together) == [0, 1, 2, 3]
    for index, outcome in together.items():
        assert isinstance(outcome, Completion)
        assert trace.tokens[index] == outcome.tokens
    # Candidate 2 alone is candidate 0 of a request whose seed is 2 more.
    assert (await draw(policy, request(seed=9, max_tokens=20)))[0] == together[2]


async def test_without_a_seed_every_request_is_another(open_policy: OpenPolicy) -> None:
    policy = await open_policy()
    texts = set()
    for _ in range(2):
        for outcome in (await draw(policy, request(seed=None, max_tokens=20), 3)).values():
            assert isinstance(outcome, Completion)
            texts.add(outcome.message["content"])
    assert len(texts) == 6


async def test_a_stream_is_candidate_0(open_policy: OpenPolicy) -> None:
    policy = await open_policy()
    for seed in range(5):
        asked = request(seed=seed, max_tokens=30, stop=["a", "bc"])
        whole = (await draw(policy, asked, 3))[0]
        assert isinstance(whole, Completion)
        deltas = await read(policy, asked)
        assert text_of(deltas) == whole.message["content"]
        assert deltas[0].choice is not None
        assert deltas[0].choice["delta"] == {"role": "assistant", "content": ""}
        assert (deltas[-1].tokens, deltas[-1].prompt_tokens) == (whole.tokens, whole.prompt_tokens)


async def test_each_candidate_is_given_when_it_ends(
    open_policy: OpenPolicy, loaded: LoadedModel
) -> None:
    """While the others still run: the first end comes before the last step."""
    slow, network = observed(loaded, permits=0)
    policy = await open_policy(slow)
    asked = request(max_tokens=60, logit_bias={"1": 4})
    async with drawing(policy, asked, range(8), count_tokens=True) as arrived:
        while arrived.empty():
            network.permit()
            await asyncio.sleep(0.005)
        assert isinstance(arrived.get_nowait().outcome, Completion)
        assert policy._engine.jobs == 1
    network.permit(100)


@pytest.mark.parametrize("stream", [False, True])
async def test_closing_stops_the_work_within_a_step(
    open_policy: OpenPolicy, loaded: LoadedModel, stream: bool
) -> None:
    endless, network = observed(loaded, permits=6)
    policy = await open_policy(endless)
    trace = Trace()
    asked = request(max_tokens=100_000, ignore_eos=True)
    if stream:
        work = _exhaust(policy.stream(asked, trace))
    else:
        work = policy.sample(asked, range(3), trace, lambda sample: None)
    reader = asyncio.create_task(work)
    await until(lambda: trace.tokens.get(0) == 6)
    reader.cancel()
    await asyncio.wait([reader])
    network.permit(100)
    await until(lambda: policy._engine.jobs == 0)
    assert len(network.calls) <= 7
    assert set(trace.tokens.values()) == {6}
    assert isinstance((await draw(policy, request(max_tokens=3)))[0], Completion)


async def _exhaust(deltas: AsyncGenerator[Delta, None]) -> None:
    async with aclosing(deltas):
        async for _ in deltas:
            pass


async def test_the_event_loop_runs_while_the_model_does(
    open_policy: OpenPolicy, loaded: LoadedModel
) -> None:
    """Each step waits for a permit that only the loop can give."""
    slow, network = observed(loaded, permits=0)
    policy = await open_policy(slow)
    drawing = asyncio.create_task(draw(policy, request(max_tokens=20, ignore_eos=True), 2))
    for _ in range(20):
        await asyncio.sleep(0.001)
        network.permit()
    assert len(await drawing) == 2


async def test_two_requests_share_the_model(open_policy: OpenPolicy, loaded: LoadedModel) -> None:
    slow, network = observed(loaded, permits=3)
    policy = await open_policy(slow)
    long = asyncio.create_task(draw(policy, request(max_tokens=40, ignore_eos=True), 5))
    await until(lambda: len(network.calls) == 3)
    short = asyncio.create_task(draw(policy, request(max_tokens=4, ignore_eos=True), 2))
    await until(lambda: policy._engine.jobs == 2)
    network.permit(100)
    await short
    rows = [call[0] for call in network.calls]
    place = rows.index(2)
    assert rows[place : place + 5] == [2, 5, 2, 5, 2]
    await long
    assert rows.count(5) < 20  # the long one was far from its end


async def test_beyond_the_queue_requests_are_refused(
    open_policy: OpenPolicy, loaded: LoadedModel
) -> None:
    slow, network = observed(loaded, permits=0)
    policy = await open_policy(slow, max_active=1, max_queue=1)
    tasks = [asyncio.create_task(draw(policy, request(max_tokens=2), 2)) for _ in range(2)]
    await until(lambda: policy._engine.jobs == 2)
    refused = await draw(policy, request(max_tokens=2), 2)
    for outcome in refused.values():
        assert isinstance(outcome, PolicyOverloadedError)
        assert outcome.retry_after
    tasks[1].cancel()
    await asyncio.wait(tasks[1:])
    await until(lambda: policy._engine.jobs == 1)  # its thread has to see it first
    again = asyncio.create_task(draw(policy, request(max_tokens=2), 2))
    network.permit(10)
    for drawn in (await tasks[0], await again):
        assert all(isinstance(outcome, Completion) for outcome in drawn.values())


async def test_a_failing_model_fails_that_request_alone(
    open_policy: OpenPolicy, loaded: LoadedModel
) -> None:
    model, network = observed(loaded)
    poison = ids_of(loaded, "Z")[0]
    network.fails = lambda tokens: bool((tokens == poison).any())
    policy = await open_policy(model)
    harmless = request(max_tokens=5, logit_bias={str(poison): -100})
    bad, good = await asyncio.gather(
        draw(policy, request("Z", max_tokens=5), 3), draw(policy, harmless, 3)
    )
    assert [type(outcome) for outcome in bad.values()] == [PolicyFailedError] * 3
    assert all(isinstance(outcome, Completion) for outcome in good.values())
    with pytest.raises(PolicyFailedError):
        await read(policy, request("Z", max_tokens=5))
    assert isinstance((await draw(policy, harmless))[0], Completion)


async def test_a_failure_half_way_keeps_what_has_ended(
    open_policy: OpenPolicy, loaded: LoadedModel
) -> None:
    model, network = observed(loaded)
    network.fails = lambda tokens: len(network.calls) > 25
    policy = await open_policy(model)
    drawn = await draw(policy, request(max_tokens=60, logit_bias={"1": 4}), 8)
    kinds = {type(outcome) for outcome in drawn.values()}
    assert kinds == {Completion, PolicyFailedError}
    assert len(drawn) == 8


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (request(top_p=2), "top_p"),
        (request(tools=[{"type": "function"}]), "tools"),
        (request(nonsense=1), "nonsense"),
        (request([{"type": "image_url"}]), "messages[0].content"),
        (request("x" * CONTEXT), "messages"),
        (request(max_tokens=CONTEXT), "max_tokens"),
    ],
)
async def test_a_refusal_names_its_parameter(
    open_policy: OpenPolicy, asked: Any, param: str
) -> None:
    policy = await open_policy()
    for outcome in (await draw(policy, asked, 2)).values():
        assert isinstance(outcome, PolicyRefusedError)
        assert (outcome.param, outcome.status) == (param, 400)
    with pytest.raises(PolicyRefusedError) as caught:
        await read(policy, asked)
    assert caught.value.param == param


async def test_the_settings_limit_what_the_client_does_not(open_policy: OpenPolicy) -> None:
    policy = await open_policy(max_tokens=7)
    (outcome,) = (await draw(policy, request(ignore_eos=True))).values()
    assert isinstance(outcome, Completion)
    assert (outcome.tokens, outcome.finish_reason) == (7, "length")


async def test_closing_leaves_nothing_behind(folder: Path, loaded: LoadedModel) -> None:
    slow, network = observed(loaded, permits=2)
    policy = TransformersPolicy(
        TransformersPolicySettings(type="transformers", model=str(folder)), load=lambda _: slow
    )
    await policy.start()
    await until(policy.ready)
    drawing = asyncio.create_task(draw(policy, request(ignore_eos=True), 2))
    await until(lambda: len(network.calls) == 2)
    closing = asyncio.create_task(policy.close())
    await until(lambda: not policy.ready())
    network.permit()
    await closing
    outcomes = (await drawing).values()
    assert [type(outcome) for outcome in outcomes] == [PolicyUnreachableError] * 2
    assert isinstance((await draw(policy, request()))[0], PolicyUnreachableError)
    assert not [t for t in threading.enumerate() if t.name == "embedded-policy"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_model_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = tmp_path / "nowhere"
    policy = TransformersPolicy(TransformersPolicySettings(type="transformers", model=str(missing)))
    await policy.start()
    assert not policy.ready()
    await until(lambda: "warming" not in policy.health().values())
    assert policy.health() == {"nowhere": "ejected"}
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert errors[0].startswith("policy model nowhere cannot be loaded: ")
    assert "\n" not in errors[0]
    (outcome,) = (await draw(policy, request())).values()
    assert isinstance(outcome, PolicyUnreachableError)
    await policy.close()


async def test_it_loads_by_itself_and_in_the_background(folder: Path) -> None:
    policy = TransformersPolicy(
        TransformersPolicySettings(type="transformers", model=str(folder), device="cpu")
    )
    await policy.start()
    assert policy.health() == {folder.name: "warming"}
    (early,) = (await draw(policy, request())).values()
    assert isinstance(early, PolicyUnreachableError)
    await until(policy.ready)
    assert isinstance((await draw(policy, request(max_tokens=3)))[0], Completion)
    await policy.close()


async def test_stop_strings_end_a_candidate(open_policy: OpenPolicy, loaded: LoadedModel) -> None:
    policy = await open_policy(scripted(loaded, ids_of(loaded, "one two three")))
    (outcome,) = (await draw(policy, request(stop="o t", max_tokens=50))).values()
    assert isinstance(outcome, Completion)
    assert outcome.message["content"] == "one tw"
    assert outcome.extra == {"stop_reason": "o t"}


async def test_breaking_off_a_stream_frees_the_model(
    open_policy: OpenPolicy, loaded: LoadedModel
) -> None:
    policy = await open_policy(observed(loaded)[0])
    async with aclosing(policy.stream(request(max_tokens=10**6, ignore_eos=True), Trace())) as s:
        async for delta in s:
            assert isinstance(delta, Delta)
            break
    await until(lambda: policy._engine.jobs == 0)


async def test_a_stopped_candidate_leaves_the_batch(
    open_policy: OpenPolicy, loaded: LoadedModel
) -> None:
    """The others say what they would have said; the stopped one costs no further token."""
    # With the fourth token nothing is permitted any more, until the one is stopped.
    whole, watched = observed(loaded, permits=4)
    policy = await open_policy(whole)
    watch = StoppingWatch((4, 8))
    trace = Trace(watch=watch)
    asked = request(max_tokens=20, ignore_eos=True)
    drawing_all = asyncio.create_task(draw(policy, asked, 3, trace))
    await until(lambda: all(4 in watch.texts(index) for index in range(3)))
    watch.stops[1]()
    watched.permit(100)
    outcomes = await drawing_all
    assert sorted(outcomes) == [0, 2]
    rows = [rows for rows, _ in watched.calls]
    assert rows[:4] == [1, 3, 3, 3]
    # The next step may have begun already.
    assert rows[4] in (2, 3)
    assert set(rows[5:]) == {2}
    assert len(rows) == 20
    assert trace.tokens[1] in (4, 5)
    alone = await draw(policy, asked, 3)
    assert outcomes == {index: alone[index] for index in (0, 2)}
    for index, outcome in outcomes.items():
        assert isinstance(outcome, Completion)
        for text in watch.texts(index).values():
            assert outcome.message["content"].startswith(str(text).rstrip("\ufffd"))


async def test_all_may_be_stopped(open_policy: OpenPolicy) -> None:
    policy = await open_policy()
    watch = StoppingWatch((3,), stop_at={0: 3, 1: 3})
    asked = request(max_tokens=200, ignore_eos=True)
    assert await draw(policy, asked, 2, Trace(watch=watch)) == {}
    assert isinstance((await draw(policy, request(max_tokens=3), 1))[0], Completion)
