"""Pruning over HTTP: what the answer, the metrics and the candidate log say."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from bon_common.selection.pruning.probes import LEAST, PairSums
from bon_gateway.testing.fakes import Act, FakeHistory, FakePolicy, completion

Serve = Callable[..., Awaitable[Any]]
MODELS = {
    "m": {
        "policy": "p",
        "reward": "r",
        "strategy": {"type": "pruning", "n": 8, "cap": 8, "checkpoints": [4], "least_chance": 0.1},
    }
}
KNOWN = {4: PairSums(8, 0.0, 42.0, 42.0, 40.0)}


def usual_id() -> str:
    """The id of a request that is no probe."""
    return next(
        name
        for name in (f"r{number}" for number in range(99))
        if random.Random(f"{name} None probe").random() >= 0.02
    )


def growing() -> FakePolicy:
    return FakePolicy(
        {i: Act((completion(f"answer {i}", tokens=50),), delay=0.2) for i in range(8)}
    )


async def test_the_answer_and_the_metrics_say_what_was_pruned_where(serve: Serve) -> None:
    history = FakeHistory()
    for _ in range(LEAST):
        history.add_probe(KNOWN, 8, 400)
    served = await serve(settings={"models": MODELS}, policy=growing(), history=history)
    response = await served.http.post(
        "/v1/chat/completions",
        json={"model": "m", "messages": [{"role": "user", "content": "?"}]},
        headers={"x-request-id": usual_id()},
    )
    bon = response.json()["bon"]
    assert (bon["strategy"], bon["n"], bon["pruning"], bon["winner"]) == ("pruning", 8, "on", 7)
    pruned = [one for one in bon["candidates"] if one["status"] == "rejected"]
    assert [one["index"] for one in pruned] == [*range(len(pruned))]
    assert 3 <= len(pruned) <= 7
    for one in pruned:
        assert one["reason"] == "pruned"
        assert one["partial_rewards"] == [[4, float(one["index"])]]
        assert one["tokens"] == 4
        assert one["reward"] is None
    assert bon["candidates"][7]["partial_rewards"] == [[4, 7.0]]
    assert bon["usage"]["winner_tokens"] == 50
    assert bon["usage"]["discarded_tokens"] == 4 * len(pruned) + 50 * (7 - len(pruned))
    assert served.metric("bon_pruning_total", model="m", state="on") == 1
    assert served.metric("bon_candidates_total", model="m", status="rejected") == len(pruned)
    assert (
        served.metric("bon_tokens_total", model="m", kind="discarded")
        == (bon["usage"]["discarded_tokens"])
    )


async def test_before_enough_is_known_the_answer_says_so(serve: Serve) -> None:
    served = await serve(settings={"models": MODELS}, policy=growing(), history=FakeHistory())
    bon = (await served.chat(model="m")).json()["bon"]
    assert (bon["pruning"], bon["n"]) == ("learning", 8)
    assert all(one["status"] == "finished" for one in bon["candidates"])
    assert served.metric("bon_pruning_total", model="m", state="learning") == 1


async def test_other_strategies_say_nothing_of_it(serve: Serve) -> None:
    served = await serve(settings={"models": MODELS})
    bon = (await served.chat(model="m", bon={"strategy": "best_of_n"})).json()["bon"]
    assert "pruning" not in bon
    assert all("partial_rewards" not in one for one in bon["candidates"])
