from __future__ import annotations

from typing import Any

import pytest

from tests.trainers.preferences.helpers import bot, user
from trainers.preferences.forms import OTHER_METADATA, Form, PairChoice, in_form
from trainers.preferences.records import ListedAnswer, Listwise, Pairwise, Pointwise, Preference
from trainers.preferences.tally import Tally
from trainers.preferences.usable import usable

ASK = [user("hi")]


def scored(*scores: float | None, **fields: Any) -> Listwise:
    """Answers a, b, c and so on with these scores."""
    letters = "abcdefgh"
    return Listwise(
        ASK, tuple(ListedAnswer([bot(letters[i])], s) for i, s in enumerate(scores)), **fields
    )


def turned(
    preference: Preference, form: Form = "pairwise", **options: Any
) -> tuple[list[Preference], dict[str, int]]:
    tally = Tally()
    return list(in_form([preference], form, tally, **options)), dict(tally.dropped)


def pair(better: str, worse: str, margin: float | None) -> Pairwise:
    return Pairwise(ASK, [bot(better)], [bot(worse)], margin)


@pytest.mark.parametrize(
    ("choice", "min_margin", "expected", "dropped"),
    [
        ("best_worst", 0, [("c", "a", 3)], {}),
        ("best_worst", 4, [], {"pair under min_margin": 1}),
        (
            "all",
            0,
            [("b", "a", 1), ("c", "a", 3), ("d", "a", 1), ("c", "b", 2), ("c", "d", 2)],
            {"ties": 1},
        ),
        (
            "all",
            2,
            [("c", "a", 3), ("c", "b", 2), ("c", "d", 2)],
            {"ties": 1, "pair under min_margin": 2},
        ),
    ],
)
def test_pairs_of_a_list(
    choice: PairChoice,
    min_margin: float,
    expected: list[tuple[str, str, float]],
    dropped: dict[str, int],
) -> None:
    found, counts = turned(scored(0, 1, 3, 1), pairs=choice, min_margin=min_margin)
    assert found == [pair(*each) for each in expected]
    assert counts == dropped


def test_ranks_give_pairs_without_margins() -> None:
    found, counts = turned(scored(-2, -1, ordinal=True, subset="s"), min_margin=5)
    assert found == [Pairwise(ASK, [bot("b")], [bot("a")], None, "s")]
    assert counts == {}


def test_answers_without_scores_are_counted() -> None:
    assert turned(scored(1, None, 2)) == ([pair("c", "a", 1)], {"answer without a score": 1})
    counts = {"answer without a score": 1, "fewer than two scored answers": 1}
    assert turned(scored(1, None)) == ([], counts)
    assert turned(scored(1, None), "listwise") == ([], counts)


def test_ties_are_counted() -> None:
    assert turned(scored(1, 1)) == ([], {"ties": 1})
    assert turned(scored(1, 1), "listwise") == ([], {"ties": 1})


def test_scores_of_one_prompt_become_a_list() -> None:
    points = [
        Pointwise(ASK, [bot("a")], 1),
        Pointwise([user("other")], [bot("x")], 1),
        Pointwise(ASK, [bot("b")], 3),
        Pointwise(ASK, [bot("a")], 2),
    ]
    tally = Tally()
    assert list(in_form(points, "pairwise", tally)) == [pair("b", "a", 2)]
    assert tally.dropped == {
        "the same answer scored again": 1,
        "fewer than two scored answers": 1,
    }
    assert list(in_form(points[:3], "listwise", Tally())) == [scored(1, 3)]


def test_to_points() -> None:
    assert turned(scored(1, None, 2), "pointwise") == (
        [Pointwise(ASK, [bot("a")], 1), Pointwise(ASK, [bot("c")], 2)],
        {"answer without a score": 1},
    )
    point = Pointwise(ASK, [bot("a")], 1)
    assert turned(point, "pointwise") == ([point], {})
    assert turned(pair("a", "b", 1), "pointwise") == ([], {"pair, which has no scores": 1})
    assert turned(scored(1, 2, ordinal=True), "pointwise") == (
        [],
        {"ranked answers, which have no scores": 1},
    )


def test_a_pair_is_a_list_of_two() -> None:
    assert turned(pair("a", "b", 2), "listwise")[0] == [scored(2, 0)]
    assert turned(pair("a", "b", None), "listwise")[0] == [scored(1, 0, ordinal=True)]


@pytest.mark.parametrize(
    ("preference", "reason"),
    [
        (Pairwise([user(" ")], [bot("a")], [bot("b")]), "empty prompt"),
        (Pairwise(ASK, [bot("\n")], [bot("b")]), "empty answer"),
        (Pairwise(ASK, [bot("a")], [bot("")]), "empty answer"),
        (Pairwise(ASK, [bot("a")], [bot("a")]), "equal answers"),
        (Pairwise(ASK, [bot("a" * 9)], [bot("b")]), "over the length limit"),
        (Pairwise(ASK, [bot("a")], [bot("b" * 9)]), "over the length limit"),
        (Pointwise(ASK, [bot("")], 1), "empty answer"),
        (Pointwise(ASK, [bot("a" * 9)], 1), "over the length limit"),
    ],
)
def test_what_cannot_be_used_is_counted(preference: Preference, reason: str) -> None:
    tally = Tally()
    assert usable(preference, tally, 10) is None
    assert tally.dropped == {reason: 1}


def test_what_just_fits_is_kept() -> None:
    preference = Pairwise(ASK, [bot("a" * 8)], [bot("b")])
    tally = Tally()
    assert usable(preference, tally, 10) is preference
    assert not tally.dropped


def test_a_tool_call_is_an_answer_without_text() -> None:
    call = bot("")
    call["tool_calls"] = [{"function": {"name": "f"}}]
    assert usable(Pairwise(ASK, [call], [bot("b")]), Tally()) is not None


def test_a_list_loses_single_answers() -> None:
    texts = ["a", "", "a", "b" * 9, "c"]
    preference = Listwise(ASK, tuple(ListedAnswer([bot(text)], i) for i, text in enumerate(texts)))
    tally = Tally()
    kept = usable(preference, tally, 10)
    assert isinstance(kept, Listwise)
    assert [(c.answer[0]["content"], c.score) for c in kept.candidates] == [("a", 0), ("c", 4)]
    assert tally.dropped == {"empty answer": 1, "equal answers": 1, "over the length limit": 1}
    assert usable(Listwise(ASK, preference.candidates[:3]), tally) is None
    assert tally.dropped["fewer than two usable answers"] == 1


def test_scores_by_dimension_stay_through_every_form() -> None:
    def point(text: str, **scores: float) -> Pointwise:
        return Pointwise([user("q")], [bot(text)], sum(scores.values()) / len(scores), scores)

    points = [point("a", kind=2, short=1), point("b", kind=1, short=1), point("c", kind=0, short=5)]
    [listed] = in_form(points, "listwise", Tally())
    assert isinstance(listed, Listwise)
    assert [dict(one.dimensions) for one in listed.candidates] == [p.dimensions for p in points]
    assert listed.as_json()["candidates"][0]["scores"] == {"kind": 2, "short": 1}
    assert list(in_form([listed], "pointwise", Tally())) == points
    pairs = list(in_form(points, "pairwise", Tally(), pairs="all"))
    assert [(p.as_json()["margin"], p.as_json()["preferences"]) for p in pairs] == [
        (0.5, {"kind": 1, "short": 0}),
        (1.0, {"kind": -1, "short": 1}),
        (1.5, {"kind": -1, "short": 1}),
    ]


@pytest.mark.parametrize("form", ["pairwise", "pointwise", "listwise"])
def test_every_form_keeps_metadata(form: Form) -> None:
    kept = {"reference": "42"}
    pair = Pairwise(ASK, [bot("b")], [bot("a")], 1.0, metadata=kept)
    for preference in (scored(0, 1, metadata=kept), pair):
        for choice in ("all", "best_worst"):
            found, _ = turned(preference, form, pairs=choice)
            assert all(one.metadata == kept for one in found)
            assert found or (form, preference) == ("pointwise", pair)


def test_the_metadata_of_a_prompts_first_record_counts() -> None:
    points = [
        Pointwise(ASK, [bot(text)], score, metadata={"n": n})
        for score, (text, n) in enumerate([("a", 1), ("b", 2), ("c", 1)])
    ]
    tally = Tally()
    [found] = in_form(points, "listwise", tally)
    assert found.metadata == {"n": 1}
    assert tally.noted == {OTHER_METADATA: 1}
