"""Strategies that choose without rewards or draw in waves, on real engines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from bon_gateway.strategies.history import LEAST
from tests.integration.conftest import FAN_OUTS, Engines
from tests.integration.engines import start_reward_server
from tests.integration.gateway import Gateway
from tests.integration.processes import Processes
from tests.integration.prompts import PROMPTS, ask

pytestmark = pytest.mark.vllm

SIGNALS: Mapping[str, Mapping[str, Any]] = {
    "mean_logprob": {"type": "mean_logprob"},
    "self_certainty": {"type": "self_certainty", "top_logprobs": 5},
    "lowest_group": {"type": "lowest_group", "top_logprobs": 4, "window": 3},
}
MOST_TOP = 20
"""Alternatives that vLLM lists at most."""
TOLERANCE = 1e-3
"""Of log-probabilities: a batch of another size sums in another order."""

Start = Callable[[Mapping[str, Any] | None], Gateway]


@pytest.fixture(scope="module")
def choosing(engines: Engines, start_gateway: Start) -> Gateway:
    settings = engines.settings()
    del settings["rewards"]["in_process"], settings["rewards"]["vllm_classify"]
    settings["models"] = {
        **{
            f"{name}-{fan_out}": {
                "policy": fan_out,
                "strategy": {"type": "confidence", "n": 8, "signal": dict(signal)},
            }
            for name, signal in SIGNALS.items()
            for fan_out in FAN_OUTS
        },
        "vote": {
            "policy": "together",
            "strategy": {
                "type": "majority",
                "n": 16,
                "stop_at": 0.95,
                "extract": {"type": "regex", "pattern": r"^\w+"},
            },
        },
        "adaptive": {
            "policy": "together",
            "reward": "reward_server",
            "strategy": {"type": "adaptive", "n": 4},
        },
    }
    return start_gateway(settings)


@pytest.mark.parametrize("fan_out", FAN_OUTS)
@pytest.mark.parametrize("name", SIGNALS)
async def test_the_surest_is_the_surest_by_hand(
    choosing: Gateway, engines: Engines, name: str, fan_out: str
) -> None:
    differences = []
    for seed, prompt in enumerate(PROMPTS[:4]):
        body = {"messages": ask(prompt), "seed": 100 * seed}
        answer = await choosing.chat(
            model=f"{name}-{fan_out}", **body, bon={"return_candidates": True}
        )
        assert answer.status_code == 200, answer.text
        bon = answer.json()["bon"]
        alone = [
            engines.generator.chat(
                {**body, "seed": 100 * seed + i, "logprobs": True, "top_logprobs": MOST_TOP}
            )["choices"][0]
            for i in range(8)
        ]
        told = [candidate["confidence"] for candidate in bon["candidates"]]
        by_hand = [HAND[name](choice["logprobs"]["content"]) for choice in alone]
        assert told == pytest.approx(by_hand, abs=TOLERANCE)
        winner = bon["winner"]
        assert told[winner] == max(told)
        assert answer.json()["choices"][0]["message"] == bon["candidates"][winner]["message"]
        assert answer.json()["choices"][0]["logprobs"] is None
        differences.append(max(by_hand) - min(by_hand))
    # Otherwise any number would do.
    assert min(differences) > 10 * TOLERANCE


@pytest.mark.parametrize("fan_out", FAN_OUTS)
@pytest.mark.parametrize("top", [0, 2, 9])
async def test_a_client_sees_the_log_probabilities_that_it_asked_for(
    choosing: Gateway, engines: Engines, top: int, fan_out: str
) -> None:
    """As many alternatives as by itself, whatever the signal needs."""
    body = {"messages": ask(), "logprobs": True, "top_logprobs": top}
    answer = await choosing.chat(
        model=f"self_certainty-{fan_out}", seed=3, **body, bon={"return_candidates": True}
    )
    assert answer.status_code == 200, answer.text
    seed = 3 + answer.json()["bon"]["winner"]
    alone = engines.generator.chat({**body, "seed": seed})["choices"][0]
    shown = answer.json()["choices"][0]["logprobs"]["content"]
    assert [_words(token) for token in shown] == [
        _words(token) for token in alone["logprobs"]["content"]
    ]
    assert [token["logprob"] for token in shown] == pytest.approx(
        [token["logprob"] for token in alone["logprobs"]["content"]], abs=TOLERANCE
    )


async def test_a_vote_stops_when_it_is_decided(choosing: Gateway) -> None:
    stopped = []
    for seed, prompt in enumerate(PROMPTS):
        answer = await choosing.chat(
            model="vote", messages=ask(prompt), seed=50 * seed, bon={"return_candidates": True}
        )
        assert answer.status_code == 200, answer.text
        bon = answer.json()["bon"]
        firsts = [c["message"]["content"].split()[0] for c in bon["candidates"]]
        most = max(firsts.count(first) for first in firsts)
        won = bon["candidates"][bon["winner"]]["message"]["content"].split()[0]
        assert firsts.count(won) == most
        assert bon["n"] == len(firsts) == 4 * bon["rounds"]
        assert bon["stopped"] == ("vote" if bon["n"] < 16 else bon["stopped"])
        stopped.append(bon["stopped"])
    assert set(stopped) == {"vote", "cap"}


async def test_waves_stop_by_price_once_there_is_a_history(choosing: Gateway) -> None:
    """The first requests draw all that they may, for others to learn from."""
    seen: list[tuple[str, int]] = []
    while len(seen) < 2 * LEAST and ("price", 4) not in seen:
        number = len(seen)
        answer = await choosing.chat(
            model="adaptive", messages=ask(PROMPTS[number % len(PROMPTS)]), seed=1000 * number
        )
        assert answer.status_code == 200, answer.text
        bon = answer.json()["bon"]
        seen.append((bon["stopped"], bon["n"]))
    assert seen[:LEAST] == [("learning", 8)] * LEAST
    assert seen[-1] == ("price", 4)


async def test_confidence_stands_in_for_a_reward_model_that_died(
    passing: Processes, engines: Engines, start_gateway: Start
) -> None:
    server = start_reward_server(passing)
    server.wait()
    settings = engines.settings()
    settings["rewards"] = {"gone": {"type": "reward_server", "urls": [server.url]}}
    strategy = {"type": "best_of_n", "n": 4, "fallback": "confidence"}
    settings["models"] = {"m": {"policy": "separate", "reward": "gone", "strategy": strategy}}
    gateway = start_gateway(settings)
    server.process.stop()
    answer = await gateway.chat(model="m", messages=ask(), seed=7, bon={"return_candidates": True})
    assert answer.status_code == 200, answer.text
    bon = answer.json()["bon"]
    told = [candidate["confidence"] for candidate in bon["candidates"]]
    assert told[bon["winner"]] == max(told)
    assert len(set(told)) > 1
    assert bon["degraded"] == "reward_unavailable, chosen_by_confidence"


def _words(token: Mapping[str, Any]) -> Any:
    """A token and the names of its alternatives. Two that are equally likely may change places."""
    return token["token"], {other["token"] for other in token["top_logprobs"]}


def _likeliest(token: Mapping[str, Any], count: int) -> list[float]:
    listed: Sequence[Mapping[str, Any]] = token["top_logprobs"]
    return sorted((other["logprob"] for other in listed), reverse=True)[:count]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_logprob(content: Sequence[Mapping[str, Any]]) -> float:
    return _mean([token["logprob"] for token in content])


def _self_certainty(content: Sequence[Mapping[str, Any]]) -> float:
    def certainty(top: Sequence[float]) -> float:
        total = sum(math.exp(value) for value in top)
        return -_mean([math.log(len(top) * math.exp(value) / total) for value in top])

    return _mean([certainty(_likeliest(token, 5)) for token in content])


def _lowest_group(content: Sequence[Mapping[str, Any]]) -> float:
    values = [-_mean(_likeliest(token, 4)) for token in content]
    groups = [values[start : start + 3] for start in range(max(1, len(values) - 2))]
    return min(map(_mean, groups))


HAND: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], float]] = {
    "mean_logprob": _mean_logprob,
    "self_certainty": _self_certainty,
    "lowest_group": _lowest_group,
}
