"""The terminal: one question after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.trainers.preferences.helpers import bot, user
from trainers.preferences.labellers.hand import HandSettings, TerminalLabeller, questions
from trainers.preferences.readers.options import STEP_MARGINS
from trainers.preferences.records import Candidate, Listwise
from trainers.preferences.verdicts import Comparison

TASK = Listwise([user("hi")], (Candidate([bot("one")]), Candidate([bot("two")])))


def labeller(*typed: str) -> tuple[TerminalLabeller, list[str]]:
    shown: list[str] = []
    lines = iter([f"{text}\n" for text in typed])
    answer: Callable[[], str] = lambda: next(lines, "")  # noqa: E731 - a terminal in a line
    settings = HandSettings(type="hand")
    return TerminalLabeller(settings, STEP_MARGINS, show=shown.append, answer=answer), shown


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
    [question] = questions(TASK, "all", 0)
    terminal, shown = labeller(typed)
    [verdict] = await terminal.label([TASK])
    assert verdict.comparisons == (
        Comparison(question.a, question.b, outcome, margin),  # type: ignore[arg-type]
    )
    texts = ["one", "two"]
    assert f"[A] {texts[question.a]}\n\n[B] {texts[question.b]}" in shown[0]
    assert "user: hi" in shown[0]


async def test_mistyped_words_are_asked_again() -> None:
    terminal, shown = labeller("7", "", "nicer", "s")
    [verdict] = await terminal.label([TASK])
    assert verdict.comparisons == ()
    assert verdict.dropped == {"left out by the labeller": 1}
    assert "preference: '7' is no step of the scale" in shown
    assert "preference: 'nicer' is no step of the scale" in shown


async def test_a_better_answer_can_be_written() -> None:
    terminal, _ = labeller("w", "", "w", "three")
    [verdict] = await terminal.label([TASK])
    assert verdict.rewrites == {0: "three", 1: "three"}
    assert verdict.dropped == {}


@pytest.mark.parametrize("typed", [["q"], []])
async def test_the_labeller_may_stop(typed: list[str]) -> None:
    terminal, _ = labeller(*typed)
    with pytest.raises(KeyboardInterrupt):
        await terminal.label([TASK])


def test_the_blind_order_is_decided_by_the_seed() -> None:
    tasks = [Listwise([user(f"q{n}")], TASK.candidates) for n in range(64)]
    orders = [[questions(task, "all", seed)[0].a for task in tasks] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert 16 < sum(orders[0]) < 48
