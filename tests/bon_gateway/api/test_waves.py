"""Strategies that draw in waves, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from bon_gateway.testing.fakes import Act, FakePolicy, completion
from tests.waiting import until

Serve = Callable[..., Awaitable[Any]]
MODELS = {
    "best": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": 4}},
    "cheap": {"policy": "p", "reward": "r", "strategy": {"type": "adaptive", "n": 4}},
    "good": {
        "policy": "p",
        "reward": "r",
        "strategy": {"type": "good_enough", "n": 6, "threshold": 3, "wave": 2},
    },
    "voted": {"policy": "p", "strategy": {"type": "majority", "n": 8, "stop_at": 0.95}},
}


async def test_the_answer_says_in_how_many_rounds_and_why_it_stopped(serve: Serve) -> None:
    served = await serve(settings={"models": MODELS})
    response = await served.chat(model="good")
    bon = response.json()["bon"]
    assert (bon["n"], bon["rounds"], bon["stopped"], bon["winner"]) == (4, 2, "good_enough", 3)
    assert response.headers["x-bon-n"] == "4"
    assert bon["usage"]["winner_tokens"] + bon["usage"]["discarded_tokens"] == 12
    assert len(bon["candidates"]) == 4
    bon = (await served.chat(model="cheap")).json()["bon"]
    assert (bon["strategy"], bon["n"], bon["rounds"], bon["stopped"]) == (
        "adaptive", 4, 1, "target",
    )  # fmt: skip
    assert served.metric("bon_stopped_total", model="good", reason="good_enough") == 1
    assert served.metric("bon_rounds_total", model="good") == 2
    assert served.metric("bon_candidates_total", model="good", status="finished") == 4


async def test_a_strategy_that_draws_at_once_says_nothing_of_rounds(serve: Serve) -> None:
    served = await serve(settings={"models": MODELS})
    bon = (await served.chat()).json()["bon"]
    assert "rounds" not in bon
    assert "stopped" not in bon
    assert served.metric("bon_rounds_total", model="best") == 0


async def test_a_stream_ends_with_the_same_object(serve: Serve) -> None:
    served = await serve(settings={"models": MODELS})
    response = await served.chat(model="good", stream=True)
    events = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    bon = orjson.loads(events[-1])["bon"]
    assert (bon["rounds"], bon["stopped"], bon["winner"]) == (2, "good_enough", 3)


async def test_a_vote_that_is_certain_stops(serve: Serve) -> None:
    policy = FakePolicy({i: Act((completion("so 4"),)) for i in range(8)})
    served = await serve(policy=policy, settings={"models": MODELS})
    bon = (await served.chat(model="voted")).json()["bon"]
    assert (bon["n"], bon["rounds"], bon["stopped"]) == (4, 1, "vote")


async def test_a_request_chooses_adaptive_and_its_target(serve: Serve) -> None:
    served = await serve(settings={"models": MODELS})
    bon = (await served.chat(bon={"strategy": "adaptive", "n": 6})).json()["bon"]
    assert (bon["strategy"], bon["n"], bon["stopped"]) == ("adaptive", 6, "target")
    refused = await served.chat(bon={"strategy": "good_enough"})
    assert refused.status_code == 400


async def test_the_candidate_log_has_all_that_was_drawn_and_no_more(
    serve: Serve, tmp_path: Path
) -> None:
    settings = {"models": MODELS, "recording": {"folder": str(tmp_path), "gzip": False}}
    served = await serve(settings=settings)
    await served.chat(model="good")

    def lines() -> list[Any]:
        texts = [path.read_text() for path in tmp_path.glob("*.jsonl")]
        return [orjson.loads(line) for text in texts for line in text.splitlines()]

    await until(lines)
    (record,) = lines()
    assert (record["strategy"], record["n"], len(record["candidates"])) == ("good_enough", 4, 4)
