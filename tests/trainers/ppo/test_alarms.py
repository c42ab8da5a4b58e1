"""Alarms on drawn curves: each sign of its own, and none in a healthy run."""

from __future__ import annotations

from typing import Any

import pytest

from trainers.ppo.alarms import alarms, kl_acceleration
from trainers.ppo.settings import AlarmSettings

SETTINGS = AlarmSettings(window=2)
HEALTHY: dict[str, list[float]] = {
    "reward": [0, 0.4, 0.7, 0.95, 1.15, 1.3, 1.4, 1.45],
    "kl to reference": [0, 0.8, 1.7, 2.6, 3.4, 4.1, 4.6, 4.9],
    "entropy": [0.9, 0.88, 0.85, 0.8, 0.76, 0.73, 0.7, 0.68],
    "eos rate": [1.0] * 8,
    "length": [16, 16, 17, 17, 18, 18, 19, 19],
    "distinct-2": [0.3, 0.3, 0.29, 0.28, 0.27, 0.26, 0.26, 0.25],
}


def history(**changed: list[float]) -> list[dict[str, float]]:
    curves = {**HEALTHY, **{name.replace("_", " "): curve for name, curve in changed.items()}}
    return [{name: curve[i] for name, curve in curves.items()} for i in range(8)]


def names(curves: list[dict[str, float]], settings: AlarmSettings = SETTINGS) -> list[str]:
    return list(alarms(curves, settings))


def test_a_healthy_run_raises_none_at_any_time() -> None:
    curves = history()
    assert [names(curves[:n]) for n in range(9)] == [[]] * 9


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("kl", {"kl_to_reference": [0, 0.8, 1.7, 2.6, 4, 7, 12, 20]}),
        ("entropy", {"entropy": [0.9, 0.88, 0.85, 0.88, 0.92, 0.95, 0.99, 1.03]}),
        ("eos", {"eos_rate": [1, 1, 1, 1, 1, 0.9, 0.8, 0.7]}),
        ("length", {"length": [16, 16, 17, 18, 20, 24, 26, 28]}),
    ],
)
def test_each_sign_raises_its_own(name: str, changed: dict[str, Any]) -> None:
    curves = history(**changed)
    assert names(curves) == [name]
    assert names(curves[:4]) == []


def test_lost_variety_raises_its_own() -> None:
    curves = history()
    for i, entry in enumerate(curves):
        entry["distinct-2"] = 0.3 * 0.8**i
    assert names(curves) == ["variety"]


def test_without_a_rising_reward_there_is_nothing_to_hack() -> None:
    falling = [-value for value in HEALTHY["reward"]]
    assert names(history(reward=falling, eos_rate=[1, 1, 1, 1, 0, 0, 0, 0])) == []


def test_small_kl_raises_none_however_it_grows() -> None:
    curves = history(kl_to_reference=[0, 0.01, 0.02, 0.03, 0.05, 0.2, 0.8, 3])
    assert names(curves) == []


def test_an_alarm_says_what_it_saw() -> None:
    found = alarms(history(eos_rate=[1, 1, 1, 1, 1, 1, 0.8, 0.6]), SETTINGS)
    assert found["eos"] == "reward rose from 0.2 to 1.42, but the eos rate fell from 1 to 0.7"


def test_kl_acceleration_is_the_price_of_reward_now_against_then() -> None:
    curves = history(reward=[0, 0, 1, 1, 2, 2, 2.5, 2.5], kl_to_reference=[0, 0, 2, 2, 4, 4, 8, 8])
    # From the first window to the last but one: 4 nats for 2. In the last: 4 for a half.
    assert kl_acceleration(curves, 2) == pytest.approx((4 / 0.5) / (4 / 2))


def test_a_kl_that_moves_by_less_than_a_tenth_is_noise() -> None:
    """At the end of a run reward and KL stand still, and their ratio means nothing."""
    flat = [0, 0.5, 1, 1.4, 1.5, 1.5, 1.49, 1.49]
    assert names(history(reward=flat, kl_to_reference=[0, 2, 4, 6, 8, 8, 8.7, 8.7])) == []
    assert names(history(reward=flat, kl_to_reference=[0, 2, 4, 6, 8, 8, 8.9, 8.9])) == ["kl"]
