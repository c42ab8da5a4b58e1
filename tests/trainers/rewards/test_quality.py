"""The part of a report that says how good a reward model is."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainers.base.report import write_report
from trainers.rewards.accuracy import ScoredPair
from trainers.rewards.quality import quality_part


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("pairs", [1, 4, 7])
def test_pairs_that_all_went_alike_are_drawn(tmp_path: Path, right: bool, pairs: int) -> None:
    scored = [ScoredPair(chosen=float(right), rejected=float(not right), margin=1.0)] * pairs
    (tmp_path / "metrics.jsonl").touch()
    write_report(tmp_path, "Reward model", {}, parts=[quality_part(scored)])
    assert (tmp_path / "report-plots" / "accuracy.svg").exists()
