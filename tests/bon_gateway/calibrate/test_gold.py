"""Gold from a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway import cli
from bon_gateway.calibrate.gold import with_gold
from bon_gateway.compare.settings import HookSettings
from bon_gateway.replay.pools import PoolSet
from tests.bon_gateway.calibrate.kit import calibrated
from tests.bon_gateway.replay.kit import candidate, candidates, line, read, write

HERE = "tests.bon_gateway.calibrate.test_gold"
Messages = Sequence[Mapping[str, Any]]


@dataclass
class Verdict:
    total: float


def length(messages: Messages, answer: str) -> int:
    return len(answer) + len(messages[-1]["content"])


def verdict(messages: Messages, answer: str) -> Verdict:
    return Verdict(float(answer.rsplit(maxsplit=1)[-1]) / 2)


def broken(messages: Messages, answer: str) -> float:
    raise KeyError(answer)


def endless(messages: Messages, answer: str) -> float:
    return float("inf")


def judged(path: Path, function: str, field: str | None = None) -> PoolSet:
    return with_gold(read(path), HookSettings(function=f"{HERE}:{function}", field=field))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    drawn = [candidate(0), candidate(1, gold=0.25), candidate(2)]
    return write(tmp_path / "p.jsonl", [line(drawn, "a"), line(drawn, "bb")])


def test_candidates_without_gold_get_it(path: Path) -> None:
    found = judged(path, "length").pools
    assert [[one.gold for one in pool.candidates] for pool in found] == [
        [9, 0.25, 9],
        [10, 0.25, 10],
    ]
    (first, _) = judged(path, "verdict", "total").pools
    assert [one.gold for one in first.candidates] == [0, 0.25, 1]


def one_argument(messages: Messages) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("broken", r"broken: raised KeyError at .*p.jsonl:1: 'answer 0'"),
        ("endless", r"endless: returned inf at .*p.jsonl:1"),
        ("absent", "there is no function of this name"),
        ("one_argument", r"it is called with \(messages, answer\), and takes"),
    ],
)
def test_a_function_that_cannot_be_used(path: Path, function: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=f"settings: gold_by.function: .*{reason}"):
        judged(path, function)


def test_a_calibration_by_it(tmp_path: Path) -> None:
    lines = [line(candidates([float(i % 3), 1.5, 0.0]), f"{i}") for i in range(8)]
    pools = write(tmp_path / "p.jsonl", lines)
    gold_by = {"function": f"{HERE}:verdict", "field": "total"}
    assert not calibrated(pools).with_gold
    found = calibrated(pools, gold_by=gold_by)
    assert found.with_gold
    assert found.curve[0].gold is not None
    assert found.curve[0].gold.value == pytest.approx(0.5)


def test_a_name_without_a_module_is_said_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["calibrate", "--pools", str(tmp_path), "--gold-by", "right"]) == 2
    assert capsys.readouterr().err == (
        "bon-gateway: --gold-by: gold_by.function: should be a module and its function, such as"
        " my_checks:right, not 'right'\n"
    )
