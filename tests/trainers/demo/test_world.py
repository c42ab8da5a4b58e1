"""The ways in which an answer fails: each list of items has one failing at most."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from trainers.demo.world import TOPICS, Request, draw_answer, draw_request, number_of

TOPIC_OF = {item: topic for topic, items in TOPICS.items() for item in items}


def lists(count: int) -> list[tuple[Request, list[str]]]:
    """Safe requests, each with the items of an answer that names some."""
    rng = random.Random(11)
    found: list[tuple[Request, list[str]]] = []
    while len(found) < count:
        request = draw_request(rng, unsafe_share=0.0)
        items = [w for w in re.findall(r"\w+", draw_answer(rng, request)) if w in TOPIC_OF]
        if items:
            found.append((request, items))
    return found


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Request, list[str]]]:
    return lists(4000)


def failing(request: Request, items: list[str]) -> str:
    strays = any(TOPIC_OF[item] != request.topic for item in items)
    repeats = len(set(items)) < len(items)
    return {(0, 0): "none", (1, 0): "strays", (0, 1): "repeats"}.get((strays, repeats), "both")


def test_a_list_fails_in_one_way_at_most(drawn: list[tuple[Request, list[str]]]) -> None:
    counts = Counter(failing(request, items) for request, items in drawn)
    assert counts["both"] == 0
    # Lists of one item cannot repeat one, and count as right ones.
    assert counts["none"] / len(drawn) == pytest.approx(0.52, abs=0.04)
    assert counts["strays"] / len(drawn) == pytest.approx(0.33, abs=0.04)


def test_a_list_strays_to_one_topic_alone(drawn: list[tuple[Request, list[str]]]) -> None:
    for request, items in drawn:
        assert len({TOPIC_OF[item] for item in items} - {request.topic}) <= 1


def test_lists_are_never_much_longer_than_asked(drawn: list[tuple[Request, list[str]]]) -> None:
    lengths = [len(items) - number_of(request.number) for request, items in drawn]
    assert max(lengths) == 1
    assert min(lengths) < -1
    assert lengths.count(0) / len(lengths) > 0.5
