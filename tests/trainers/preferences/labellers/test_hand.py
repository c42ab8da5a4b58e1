"""The terminal: one question after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.trainers.preferences.helpers import bot, user
from trainers.preferences.labellers.hand import HandLabeller, Terminal
from trainers.preferences.labels import Comparison
from trainers.preferences.records import ListedAnswer, Listwise
from trainers.preferences.steps import STEP_MARGINS

TASK = Listwise([user("hi")], (ListedAnswer([bot("one")]), ListedAnswer([bot("two")])))


def labeller(*typed: str) -> tuple[Terminal, list[str]]:
    shown: list[str] = []
    lines = iter([f"{text}\n" for text in typed])
    answer: Callable[[], str] = lambda: next(lines, "")  # noqa: E731 - a terminal in a line
    return Terminal(HandLabeller(type="hand"), STEP_MARGINS, shown.append, answer), shown


@pytest.mark.parametrize(
    ("typed", "outcome", "margin"),
    [
        ("1", "first", 3.0),
        ("3", "first", 1.0),
        ("4", "second", 1.0),
        ("6", "second", 3.0),
        ("a", "first", None),
        ("B", "second", None),
        ("t", "tie", None),
        ("slightly worse", "second", 1.0),
    ],
)
async def test_a_choice(typed: str, outcome: str, margin: float | None) -> None:
    [pair] = HandLabeller(type="hand").pairs(TASK)
    terminal, shown = labeller(typed)
    [label] = await terminal.label([TASK])
    assert label.comparisons == (
        Comparison(pair.a, pair.b, outcome, margin),  # type: ignore[arg-type]
    )
    texts = ["one", "two"]
    assert f"[A] {texts[pair.a]}\n\n[B] {texts[pair.b]}" in shown[0]
    assert "user: hi" in shown[0]


async def test_mistyped_words_are_asked_again() -> None:
    terminal, shown = labeller("7", "", "nicer", "s")
    [label] = await terminal.label([TASK])
    assert label.comparisons == ()
    assert label.dropped == {"left out by the labeller": 1}
    assert "preference: '7' is no step of the scale" in shown
    assert "preference: 'nicer' is no step of the scale" in shown


async def test_a_better_answer_can_be_written() -> None:
    terminal, _ = labeller("w", "", "w", "three")
    [label] = await terminal.label([TASK])
    assert label.rewrites == {0: "three", 1: "three"}
    assert label.dropped == {}


@pytest.mark.parametrize("typed", [["q"], []])
async def test_the_labeller_may_stop(typed: list[str]) -> None:
    terminal, _ = labeller(*typed)
    with pytest.raises(KeyboardInterrupt):
        await terminal.label([TASK])


def test_the_blind_order_is_decided_by_the_seed() -> None:
    tasks = [Listwise([user(f"q{n}")], TASK.candidates) for n in range(64)]
    labellers = [HandLabeller(type="hand", seed=seed) for seed in (0, 0, 1)]
    orders = [[one.pairs(task)[0].a for task in tasks] for one in labellers]
    assert orders[0] == orders[1] != orders[2]
    assert 16 < sum(orders[0]) < 48
