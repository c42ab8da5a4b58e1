"""Votes over HTTP: a served model's own, and one that a request chooses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from bon_gateway.testing.fakes import Act, FakePolicy, completion

Serve = Callable[..., Awaitable[Any]]
MODELS = {
    "best": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": 4}},
    "voted": {"policy": "p", "strategy": {"type": "majority", "n": 4}},
}
TEXTS = ("It is 40", "3 + 1 = 4", "So: 4.0", "Let me say 5")


def policy() -> FakePolicy:
    return FakePolicy({i: Act((completion(text),)) for i, text in enumerate(TEXTS)})


async def test_a_model_without_a_reward_votes(serve: Serve) -> None:
    served = await serve(policy=policy(), settings={"models": MODELS})
    answer = (await served.chat(model="voted", n=3)).json()
    said = [choice["message"]["content"] for choice in answer["choices"]]
    assert said == [TEXTS[1], TEXTS[0], TEXTS[3]]
    bon = answer["bon"]
    assert (bon["strategy"], bon["winner"], bon["reward"]) == ("majority", 1, None)
    assert (
        served.metric("bon_requests_total", model="voted", strategy="majority", status="200") == 1
    )


async def test_a_request_chooses_to_vote(serve: Serve) -> None:
    served = await serve(policy=policy(), settings={"models": MODELS})
    rewards = dict(zip(TEXTS, (1.0, 0.8, 0.9, -3.0), strict=True))
    served.reward.rule = lambda message: rewards[message["content"]]
    # The second and the third say the same, and the third is the better one.
    votes = {"majority": 2, "weighted_vote": 2, "majority_of_the_bests": 0}
    for name, winner in {"best_of_n": 0, **votes}.items():
        bon = (await served.chat(bon={"strategy": name})).json()["bon"]
        assert (bon["strategy"], bon["winner"]) == (name, winner)
    refused = await served.chat(model="voted", bon={"strategy": "weighted_vote"})
    assert refused.status_code == 400
    assert "weighted_vote needs a reward model" in refused.json()["error"]["message"]
    for key in ("extract", "m", "reward_temperature"):
        assert (await served.chat(bon={"strategy": "majority", key: 2})).status_code == 400
