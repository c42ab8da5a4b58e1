"""Listwise judging over a scripted judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import pytest

from bon_common.judging.grades import LETTERS
from bon_gateway.errors import AbstainedError
from bon_gateway.testing.judges import Chances, FakeJudge, fenced
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.backends.reward.judge.comparing import compared, texts, worth, writing

LISTWISE = {"type": "listwise"}


def best(prompt: str) -> Chances:
    """Chances in proportion to what the answers are worth, and a little for the first place."""
    worths = [worth(answer) for answer in fenced(prompt)]
    chances = [one + (0.3 if place == 0 else 0.0) for place, one in enumerate(worths)]
    return dict(zip(LETTERS, [chance / (sum(chances) or 1) for chance in chances], strict=False))


def sure(prompt: str) -> Chances:
    """An answer is a thousand times as likely the best one as the next."""
    chances = [1000.0 ** worth(answer) for answer in fenced(prompt)]
    return dict(zip(LETTERS, [chance / (sum(chances) or 1) for chance in chances], strict=False))


def expected(one: int, others: Sequence[int]) -> float:
    """The points that `best` gives: each answer stands first in one of the lists."""
    shares = []
    for other in others:
        shares += [(one + 0.3) / (one + other + 0.3), one / (one + other + 0.3)]
        shares += [one / (one + other)] * (len(others) - 1)
    return fmean(shares)


def ranking(shown: Sequence[str]) -> str:
    order = sorted(range(len(shown)), key=lambda place: -worth(shown[place]))
    return f"Well. [[{' > '.join(LETTERS[place] for place in order)}]]"


async def test_the_mean_of_the_points(upstream: FakeUpstream) -> None:
    fake = FakeJudge(best)
    scores = await compared(upstream, fake, texts(3, 1, 4, 2), method=LISTWISE)
    worths = (3, 1, 4, 2)
    points = [expected(one, [other for other in worths if other != one]) for one in worths]
    assert scores.rewards == pytest.approx(points)
    assert scores.judging is not None
    assert (scores.judging.calls, scores.judging.abstentions) == (4, 0)
    places = Counter(
        (answer, place) for prompt in fake.prompts for place, answer in enumerate(fenced(prompt))
    )
    # Four repeats bring each of four answers to every place.
    assert set(places.values()) == {1}
    assert len(places) == 16


async def test_the_letters_that_may_be_said_are_named(upstream: FakeUpstream) -> None:
    """A small judge that is asked for "its letter" begins a sentence instead."""
    fake = FakeJudge(best)
    await compared(upstream, fake, texts(3, 1, 4), method={**LISTWISE, "repeats": 1})
    named = "A if answer A is the best, B if answer B is the best, C if answer C is the best."
    assert fake.prompts[-1].endswith(named)


async def test_an_order_that_is_written(upstream: FakeUpstream) -> None:
    method = {**LISTWISE, "read": "text", "repeats": 2}
    scores = await compared(upstream, writing(ranking), texts(3, 1, 4, 2), method=method)
    assert scores.rewards == pytest.approx((2 / 3, 0, 1, 1 / 3))
    assert not [call for call in upstream.calls if "logprobs" in call.body]


async def test_a_judge_that_sees_only_the_place_makes_all_equal(upstream: FakeUpstream) -> None:
    fake = FakeJudge(lambda prompt: {"A": 0.6, "B": 0.3, "C": 0.1} if fenced(prompt) else {})
    scores = await compared(upstream, fake, texts(1, 2, 3), method={**LISTWISE, "repeats": 3})
    assert scores.rewards == pytest.approx((0.5, 0.5, 0.5))
    method = {**LISTWISE, "shuffle": False}
    scores = await compared(upstream, fake, texts(1, 2, 3), method=method)
    places = ((6 / 9 + 6 / 7) / 2, (3 / 9 + 3 / 4) / 2, (1 / 7 + 1 / 4) / 2)
    assert scores.rewards == pytest.approx(places)


async def test_many_answers_are_dealt_to_several_questions(upstream: FakeUpstream) -> None:
    fake = FakeJudge(sure)
    method = {**LISTWISE, "longest": 4, "repeats": 3}
    scores = await compared(upstream, fake, texts(*range(1, 11)), method=method)
    assert None not in scores.rewards
    assert scores.rewards[9] == pytest.approx(1.0, abs=0.01)
    assert scores.rewards[0] == pytest.approx(0.0, abs=0.01)
    assert sorted(len(fenced(prompt)) for prompt in fake.prompts) == [3, 3, 3, 3, 3, 3, 4, 4, 4]


async def test_a_broken_verdict_is_an_abstention(upstream: FakeUpstream) -> None:
    """The orders that leave an answer out count for nobody."""

    def words(shown: Sequence[str]) -> str:
        return ranking(shown) if worth(shown[0]) == 3 else "[[A > B]]"

    method = {**LISTWISE, "read": "text", "repeats": 3}
    scores = await compared(upstream, writing(words), texts(1, 2, 3), method=method)
    assert scores.rewards == (0.0, 0.5, 1.0)
    assert scores.judging is not None
    assert scores.judging.abstentions == 2


async def test_a_judge_that_gives_no_verdict_chooses_nobody(upstream: FakeUpstream) -> None:
    scores = await compared(upstream, FakeJudge(lambda _: None), texts(1, 2, 3), method=LISTWISE)
    assert scores.rewards == (None, None, None)
    assert isinstance(scores.missing, AbstainedError)


async def test_the_budget_cuts_repeats(upstream: FakeUpstream) -> None:
    scores = await compared(
        upstream, FakeJudge(sure), texts(1, 2, 3), method=LISTWISE, budget={"calls": 2}
    )
    assert scores.rewards == pytest.approx((0.0, 0.5, 1.0), abs=0.01)
    assert scores.judging is not None
    assert (scores.judging.calls, scores.judging.abstentions) == (2, 2)


async def test_a_single_answer_is_not_asked_about(upstream: FakeUpstream) -> None:
    scores = await compared(upstream, FakeJudge(best), texts(1), method=LISTWISE)
    assert scores.rewards == (0.5,)
    assert upstream.calls == []


async def test_an_answer_that_is_alone_in_its_list_loses_nothing(upstream: FakeUpstream) -> None:
    """Of three answers and two places in a list, one is left over in each repeat."""
    fake = FakeJudge(sure)
    method = {**LISTWISE, "longest": 2, "repeats": 1}
    scores = await compared(upstream, fake, texts(1, 2, 3), method=method)
    known = sorted(reward for reward in scores.rewards if reward is not None)
    assert known == pytest.approx([0.0, 0.5, 1.0], abs=0.01)
    assert [len(fenced(prompt)) for prompt in fake.prompts] == [2]


async def test_an_answer_that_is_alone_is_not_chosen_without_a_verdict(
    upstream: FakeUpstream,
) -> None:
    method = {**LISTWISE, "longest": 2, "repeats": 1}
    scores = await compared(upstream, FakeJudge(lambda _: None), texts(1, 2, 3), method=method)
    assert scores.rewards == (None, None, None)


async def test_a_refusal_names_no_answer(upstream: FakeUpstream) -> None:
    """Of ten answers one would have the letter I, with which "I'm sorry" begins."""
    fake = FakeJudge(lambda _: {"I": 0.97, "A": 0.02, "Sorry": 0.01})
    scores = await compared(upstream, fake, texts(*range(10)), method=LISTWISE)
    assert scores.rewards == (None,) * 10
    assert fenced(fake.prompts[-1])
    assert "K if answer K is the best" in fake.prompts[-1]
