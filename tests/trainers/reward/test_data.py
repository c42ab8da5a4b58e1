from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.trainers.reward.conftest import (
    PROMPT,
    START,
    MakeSettings,
    answer,
    dimension_list,
    ranking,
)
from trainers.base.data import write_records
from trainers.base.errors import DataError
from trainers.reward.records import DimensionRanking, StrictDimensionRanking, with_dimensions
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardTrainSettings

PAIR = {"prompt": PROMPT, "chosen": answer("Try ball."), "rejected": answer("Ugh.")}
LISTWISE = {"objective": "listwise"}
DIMENSIONS = {"dimensions": {"helpful": 1.0, "short": 1.0}}
ALL = {"objective": "all_pairs"}
SCORES = {"objective": "regression", **DIMENSIONS}
TWICE = {"prompt": PROMPT, "candidates": [{"answer": answer("Ugh."), "score": i} for i in (1, 2)]}


@pytest.mark.parametrize(
    ("second", "changes", "message"),
    [
        (PAIR | {"rejected": PAIR["chosen"]}, {}, "chosen and rejected are equal"),
        ({"prompt": PROMPT}, {}, "chosen: Field required"),
        (TWICE, LISTWISE, "candidates.1: equal to candidates.0"),
        (ranking((1.0,)), LISTWISE, "candidates: at least two answers are needed"),
        (ranking((2.0, 2.0)), {"objective": "all_pairs"}, "candidates: all scores are equal"),
        (ranking((2.0, 1.0, 2.0)), LISTWISE, "candidates.2: the same score as candidates.0"),
        (PAIR | {"preferences": {"helpfull": 1}}, DIMENSIONS, "preferences.helpfull: no such"),
        (PAIR | {"preferences": {"short": 0}}, DIMENSIONS, "no dimension says which"),
        (PAIR | {"preferences": {"short": 2}}, DIMENSIONS, "preferences.short: Input should be"),
        (
            {"prompt": PROMPT, "answer": answer("Ugh."), "scores": {"short": 1}},
            SCORES,
            "scores.helpful: missing",
        ),
        (dimension_list((1, 2), (1, 3)), LISTWISE | DIMENSIONS, "candidates: equal scores in help"),
        (dimension_list((1, 2), (1, 2)), ALL | DIMENSIONS, "candidates: all scores are equal"),
        (dimension_list((1, 2), (2,)), ALL | DIMENSIONS, "candidates.1.scores.short: missing"),
        (PAIR | {"chosen": [{"role": "user", "content": "x"}]}, {}, "a completion is an assistant"),
    ],
)
def test_a_bad_line_is_named(
    settings: MakeSettings,
    tmp_path: Path,
    second: dict[str, Any],
    changes: dict[str, Any],
    message: str,
) -> None:
    good: dict[str, Any] = PAIR | {"preferences": {"short": 1}}
    good |= {"answer": answer("Ugh."), "scores": {"helpful": 1, "short": 2}}
    good |= dimension_list((2, 1), (1, 2)) if "dimensions" in changes else ranking((2.0, 1.0))
    path = tmp_path / "bad.jsonl"
    write_records(path, [good, second])
    with pytest.raises(DataError) as caught:
        train_reward(settings(train="pairs", **changes).model_copy(update={"train": path}), START)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_margins_that_nobody_knows(settings: MakeSettings, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="margin_weight is set and no pair has a margin"):
        train_reward(settings(margin_weight=1.0), START)
    path = tmp_path / "some.jsonl"
    write_records(path, [PAIR, PAIR | {"margin": 2.0}])
    run = settings(margin_weight=0.5, max_steps=1).model_copy(update={"train": path})
    assert train_reward(run, START)["pairs without a margin"] == 1


def test_the_margin_changes_the_loss_by_its_weight(settings: MakeSettings) -> None:
    def first_loss(name: str, **changes: object) -> float:
        run = settings(name, "margins", max_steps=1, batch_size=24, **changes)
        train_reward(run, START)
        return float(json.loads((run.output / "metrics.jsonl").read_text().splitlines()[0])["loss"])

    losses = [
        first_loss("none"),
        first_loss("small", margin_weight=0.1),
        first_loss("large", margin_weight=2.0),
    ]
    assert losses == sorted(losses)
    assert losses[2] > losses[0] + 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimensions": {"a": 0.0}}, "a weight other than 0"),
        ({"margin_weight": 1.0, "objective": "listwise"}, "margin_weight: only for pairs"),
        ({"center_rewards": 0.1, "objective": "regression"}, "center_rewards: scores already"),
        ({"seeds": [1, 1]}, "each seed at most once"),
    ],
)
def test_settings_that_do_not_fit(
    settings: MakeSettings, changes: dict[str, Any], message: str
) -> None:
    values = settings().model_dump() | changes
    with pytest.raises(ValidationError, match=message):
        RewardTrainSettings.model_validate(values)


def test_ties_in_a_dimension_are_for_all_pairs() -> None:
    line = dimension_list((1, 2), (1, 3))
    names = ("helpful", "short")
    with_dimensions(DimensionRanking, names).model_validate(line)
    with pytest.raises(ValidationError, match="equal scores in helpful"):
        with_dimensions(StrictDimensionRanking, names).model_validate(line)
