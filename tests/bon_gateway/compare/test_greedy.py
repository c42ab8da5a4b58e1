"""The greedy arm that every best-of-N is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bon_gateway.compare.greedy import greedy_of, is_greedy, with_greedy
from bon_gateway.compare.settings import CompareSettings
from tests.bon_gateway.compare.support import settings_of

A, B = "http://127.0.0.1:1", "http://127.0.0.1:2"


def arm(n: int | None = 8, url: str = A, **more: Any) -> dict[str, Any]:
    return {"url": url, "model": "m", **({} if n is None else {"bon": {"n": n}}), **more}


def expanded(folder: Path, arms: dict[str, Any], **more: Any) -> CompareSettings:
    return with_greedy(settings_of(folder, arms, training={"dpo": {"money": 1}}, **more))


@pytest.mark.parametrize(
    ("arms", "added"),
    [
        ({"one": arm(1), "eight": arm(8)}, ["greedy"]),
        ({"one": arm(1)}, []),  # no best-of-N
        ({"plain": arm(None)}, []),  # an endpoint that knows no bon
        ({"served": arm(bon={"deadline_ms": 5})}, ["greedy"]),  # the served model's own N
        ({"tuned": arm(8, training="dpo")}, []),
        ({"a": arm(8), "b": arm(8, B)}, ["greedy-m", "greedy-m-0"]),
        ({"a": arm(8), "mine": arm(1, sampling={"temperature": 0})}, []),
        ({"single": arm(bon={"strategy": "single"})}, []),
        ({"greedy": arm(8)}, ["greedy-0"]),  # the name is taken
    ],
)
def test_which_arms_get_one(tmp_path: Path, arms: dict[str, Any], added: list[str]) -> None:
    settings = expanded(tmp_path, arms)
    assert list(settings.arms) == [*arms, *added]
    assert all(is_greedy(settings, name) for name in added)
    assert with_greedy(settings) == settings
    assert settings.against == next(iter(arms))


def test_it_is_one_answer_at_temperature_0(tmp_path: Path) -> None:
    chosen = arm(bon={"n": 8, "strategy": "first_k", "spare": 2}, sampling={"top_p": 0.9})
    settings = expanded(tmp_path, {"eight": chosen}, sampling={"temperature": 1})
    greedy = settings.arms["greedy"]
    assert greedy.bon is not None
    assert greedy.bon.model_dump(exclude_none=True) == {"strategy": "best_of_n", "n": 1}
    assert greedy.sampling == {"top_p": 0.9, "temperature": 0}
    assert settings.arms["eight"].sampling == {"top_p": 0.9}


def test_it_may_be_left_out(tmp_path: Path) -> None:
    assert list(expanded(tmp_path, {"eight": arm()}, greedy=False).arms) == ["eight"]


def test_whose_it_is(tmp_path: Path) -> None:
    arms = {"a": arm(8), "b": arm(8, B), "tuned": arm(1, training="dpo", model="t")}
    settings = expanded(tmp_path, arms)
    found = {name: greedy_of(settings, name) for name in settings.arms}
    assert found == {
        "a": "greedy-m",
        "b": "greedy-m-0",
        "tuned": "greedy-m",
        "greedy-m": None,
        "greedy-m-0": None,
    }
