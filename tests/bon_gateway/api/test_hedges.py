"""A winner that is drawn, from the settings file to the answer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bon_gateway.testing.fakes import FakeReward
from tests.bon_gateway.api.conftest import Serve, Served

HEDGES = {
    "soft": {"type": "soft", "n": 4, "retries": 0, "reward_temperature": 4.0},
    "pessimistic": {"type": "pessimistic", "n": 4, "retries": 0, "beta": 10.0},
}
MODELS = {
    name: {"policy": "p", "reward": "r", "strategy": strategy} for name, strategy in HEDGES.items()
} | {"best": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": 4}}}


async def ask(served: Served, **body: Any) -> dict[str, Any]:
    answer = await served.chat(**body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["x-bon-strategy"] == found["bon"]["strategy"]
    return found


@pytest.mark.parametrize("model", HEDGES)
async def test_a_request_with_a_seed_can_be_repeated(serve: Serve, model: str) -> None:
    served = await serve(settings={"models": MODELS})
    answers = [await ask(served, model=model, seed=seed) for seed in (*range(12), *range(12))]
    winners = [answer["bon"]["winner"] for answer in answers]
    assert winners[:12] == winners[12:]
    assert len(set(winners)) > 1
    for answer, winner in zip(answers, winners, strict=True):
        assert answer["choices"][0]["message"]["content"] == f"answer {winner}"
        assert (answer["bon"]["strategy"], answer["bon"]["reward"]) == (model, float(winner))
    stream = await served.chat(model=model, seed=0, stream=True)
    chunks = [orjson.loads(x[6:]) for x in stream.text.splitlines() if x.startswith("data: {")]
    assert chunks[-1]["bon"]["winner"] == winners[0]


@pytest.mark.parametrize("model", HEDGES)
async def test_further_choices_are_all_different(serve: Serve, model: str) -> None:
    served = await serve(settings={"models": MODELS})
    answer = await ask(served, model=model, seed=3, n=4)
    contents = [choice["message"]["content"] for choice in answer["choices"]]
    assert sorted(contents) == [f"answer {index}" for index in range(4)]
    assert contents[0] == f"answer {answer['bon']['winner']}"


@pytest.mark.parametrize("model", HEDGES)
async def test_a_reward_model_that_is_down_leaves_the_first(serve: Serve, model: str) -> None:
    served = await serve(settings={"models": MODELS}, reward=FakeReward(failures=100))
    for seed in range(4):
        answer = await ask(served, model=model, seed=seed)
        assert (answer["bon"]["winner"], answer["bon"]["degraded"]) == (0, "reward_unavailable")


@pytest.mark.parametrize("strategy", HEDGES)
async def test_a_request_may_choose_it_and_not_its_calibration(serve: Serve, strategy: str) -> None:
    served = await serve(settings={"models": MODELS})
    answer = await ask(served, model="best", bon={"strategy": strategy, "n": 3}, seed=1)
    assert (answer["bon"]["strategy"], answer["bon"]["n"]) == (strategy, 3)
    for key in ("reward_temperature", "beta"):
        refused = await served.chat(model=strategy, bon={key: 0.1})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == f"bon.{key}"
