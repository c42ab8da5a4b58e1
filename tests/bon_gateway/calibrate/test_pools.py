"""Which candidates count, and what is said of pools that cannot be calibrated on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bon_common.settings.errors import SettingsError
from tests.bon_gateway.calibrate.kit import prompts_of
from tests.bon_gateway.replay.kit import candidate, candidates, line, write


def pools(tmp_path: Path, lines: list[dict[str, Any]]) -> Path:
    return write(tmp_path / "pools.jsonl", lines)


def test_what_counts(tmp_path: Path) -> None:
    drawn = [
        candidate(0, reward=1.0, gold=0.0),
        candidate(1, reward=5.0, gold=1.0, status="truncated", finish_reason="length"),
        candidate(2, reward=3.0, gold=0.5, tokens=7),
        candidate(3, reward=None, gold=0.5),
        candidate(4, status="rejected", message=None, reward=None),
        candidate(5, reward=1.0, gold=0.25),
    ]
    found = prompts_of(pools(tmp_path, [line(drawn, "a"), line(drawn, "b"), line(drawn, "a")]))
    assert [len(own) for own in found.pools] == [2, 1]
    (pool,) = found.pools[1]
    assert pool.rewards == [1.0, 5.0, 3.0, 1.0]
    assert pool.golds == [0.0, 1.0, 0.5, 0.25]
    assert pool.tokens == [10, 10, 7, 10]
    # The truncated one comes last, whatever its reward; equal rewards are equally good.
    assert pool.ranks[1] < pool.ranks[0] == pool.ranks[3] < pool.ranks[2]
    assert sorted(found.halves) == [0, 1]


def test_parts_are_equal_and_the_seed_decides_them(tmp_path: Path) -> None:
    path = pools(tmp_path, [line(candidates([0.0, 1.0]), f"{i}") for i in range(21)])
    found = prompts_of(path)
    assert (found.halves.count(0), found.halves.count(1)) == (11, 10)
    assert [found.folds.count(fold) for fold in range(5)] == [5, 4, 4, 4, 4]
    assert prompts_of(path).folds == found.folds
    assert prompts_of(path, seed=1).folds != found.folds
    assert max(prompts_of(path, folds=40).folds) == 20


def test_another_reward_of_the_candidates(tmp_path: Path) -> None:
    drawn = [candidate(i, rewards={"weak": -float(i)}, partial_rewards=[[2, 9.0]]) for i in (0, 1)]
    path = pools(tmp_path, [line(drawn, "a"), line(drawn, "b")])
    (pool,) = prompts_of(path, reward="weak").pools[0]
    assert pool.rewards == [0.0, -1.0]
    # Partial rewards are the other model's.
    assert pool.partials == [{}, {}]
    assert prompts_of(path).pools[0][0].partials == [{2: 9.0}, {2: 9.0}]


def test_final_answers(tmp_path: Path) -> None:
    drawn = candidates([0.0, 1.0], texts=["it is 4", "no idea"])
    path = pools(tmp_path, [line(drawn, "a"), line(drawn, "b")])
    (pool,) = prompts_of(path, extract={"type": "last_number"}).pools[0]
    assert pool.answers == ["4", None]
    assert prompts_of(path).pools[0][0].answers is None


def test_gold_of_some_requests(tmp_path: Path) -> None:
    judged = candidates([0.0, 1.0], golds=[0.0, 1.0])
    lines = [line(judged, "a"), line(judged, "b"), line(candidates([0.0, 1.0]), "c")]
    path = pools(tmp_path, lines)
    with pytest.raises(SettingsError, match="only 2 of 3 requests have gold for all"):
        prompts_of(path)
    labelled = prompts_of(path, gold="labelled")
    assert (len(labelled.pools), labelled.with_gold) == (2, True)
    assert labelled.left_out["without gold for all candidates"] == 1
    ignored = prompts_of(path, gold="ignored")
    assert (len(ignored.pools), ignored.with_gold) == (3, False)
    assert ignored.pools[0][0].golds is None


def test_gold_of_some_candidates_is_gold_of_some_requests(tmp_path: Path) -> None:
    drawn = [candidate(0, gold=1.0), candidate(1)]
    path = pools(tmp_path, [line(drawn, "a"), line(drawn, "b")])
    with pytest.raises(SettingsError, match=r"only 0 of 2 .*, and \S+:1 has it for 1 of 2: "):
        prompts_of(path)
    with pytest.raises(SettingsError, match=r"no request has .*, and \S+:1 has it for 1 of 2"):
        prompts_of(path, gold="labelled")


ONE = [line([candidate(0)], f"{i}") for i in range(3)]
UNSCORED = [line(candidates([None, None]), f"{i}") for i in range(3)]
NAMED = [line([candidate(i, rewards={"weak": 1.0}) for i in (0, 1)], "a")]


@pytest.mark.parametrize(
    ("lines", "more", "reason"),
    [
        (ONE, {}, "no request has 2 finished or truncated candidates: record with best_of_n"),
        (UNSCORED, {}, "no request has candidates with rewards: record with a reward model"),
        (NAMED, {"reward": "week"}, "no request has candidates with the reward 'week'; known: we"),
        (UNSCORED, {"reward": "week"}, "the candidates have no other rewards"),
        ([line([]), line([])], {}, "no request is left: 2 without a candidate to draw"),
        ([line(candidates([0.0, 1.0]))], {}, "hold one prompt alone"),
        ([line(candidates([0.0, 1.0]))] * 2, {}, "hold one prompt alone"),
        ([line(candidates([1.0, 2.0])), line([candidate(0)], reward="x")], {}, "of several"),
        ([line(candidates([1.0, 2.0]), "a")], {"at_least": 3}, "no request has 3 finished"),
    ],
)
def test_what_cannot_be_calibrated_on(
    tmp_path: Path, lines: list[dict[str, Any]], more: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        prompts_of(pools(tmp_path, lines), **more)


def test_small_pools_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = [line(candidates([0.0, 1.0]), f"{i}") for i in range(2)]
    found = prompts_of(pools(tmp_path, [*lines, line([candidate(0)], "c")]))
    assert found.left_out == {"with fewer than 2 candidates with a reward": 1}
    assert (len(found.pools), found.requests) == (2, 3)
