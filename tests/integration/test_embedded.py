"""Without a word of configuration: the demo models in the gateway's own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.gateway import Gateway
from tests.integration.processes import Processes
from tests.integration.prompts import PROMPTS, ask

ByHand = Callable[[list[Any]], float]


@pytest.fixture(scope="module")
def embedded(passing: Processes) -> Gateway:
    gateway = Gateway(passing, environ={"OMP_NUM_THREADS": "1"})
    gateway.wait()
    return gateway


async def test_it_says_what_it_serves(embedded: Gateway) -> None:
    async with embedded.client() as client:
        listed = (await client.get("/v1/models")).json()
        ready = (await client.get("/readyz")).json()
        assert (await client.get("/livez")).status_code == 200
    assert [model["id"] for model in listed["data"]] == ["demo", "demo-first-k", "demo-single"]
    assert ready["status"] == "ready"
    assert set(ready["upstreams"].values()) == {"up"}
    assert "this is the demo model; try: curl" in embedded.process.output


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_best_of_eight(embedded: Gateway, reward_by_hand: ByHand, seed: int) -> None:
    messages = ask(PROMPTS[seed])
    asked: dict[str, Any] = {"model": "demo", "messages": messages, "seed": seed}
    answer = await embedded.chat(**asked, bon={"return_candidates": True})
    assert answer.status_code == 200, answer.text
    bon = answer.json()["bon"]
    rewards = [reward_by_hand([*messages, c["message"]]) for c in bon["candidates"]]
    assert [c["reward"] for c in bon["candidates"]] == pytest.approx(rewards, abs=1e-4)
    finished = [i for i, c in enumerate(bon["candidates"]) if c["status"] == "finished"]
    assert bon["winner"] == max(finished, key=lambda i: rewards[i])
    assert max(rewards) - min(rewards) > 0.5
    again = await embedded.chat(**asked)
    assert again.json()["choices"] == answer.json()["choices"]


async def test_it_streams(embedded: Gateway) -> None:
    for model, least in (("demo", 2), ("demo-single", 5)):
        answer = await embedded.chat(model=model, messages=ask(), seed=1, stream=True)
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        chunks = [json.loads(line) for line in lines[:-1]]
        assert len([c for c in chunks if c["choices"][0]["delta"].get("content")]) >= least - 1
        assert chunks[-1]["bon"]["strategy"] == ("best_of_n" if model == "demo" else "single")
        whole = await embedded.chat(model=model, messages=ask(), seed=1)
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
        assert text == whole.json()["choices"][0]["message"]["content"]


async def test_the_first_eight_of_ten(embedded: Gateway) -> None:
    answer = await embedded.chat(model="demo-first-k", messages=ask(), seed=1)
    assert answer.status_code == 200, answer.text
    bon = answer.json()["bon"]
    assert (bon["strategy"], bon["n"], len(bon["candidates"])) == ("first_k", 10, 10)
    assert len([c for c in bon["candidates"] if c["status"] != "rejected"]) >= 8


async def test_bad_input_and_an_orderly_end(embedded: Gateway) -> None:
    for body in ({"temperature": -1}, {"max_tokens": 10**6}, {"messages": ask("x " * 2000)}):
        answer = await embedded.chat(**{"model": "demo", "messages": ask(), **body})
        assert answer.status_code == 400, answer.text
    assert (await embedded.chat(model="demo", messages=ask())).status_code == 200
    embedded.wait_done()
    embedded.process.stop()
    assert embedded.process.exit_code == 0
    assert embedded.process.members() == []
