"""Rewards that only compare the answers of one call, offline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.replay.run import run
from bon_gateway.testing.judges import FakeJudge
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.calibrate.kit import calibrated
from tests.bon_gateway.replay.kit import candidates, line, settings_of, write

BEST = {"best": {"type": "best_of_n", "n": 2}}
STEADY = [
    {"type": "good_enough", "n": 2, "threshold": 0.9, "wave": 1},
    {"type": "adaptive", "n": 2},
]
PAIRWISE = {"type": "judge", "urls": ["http://127.0.0.1:1"], "method": {"type": "pairwise"}}
POINTWISE = {"type": "judge", "urls": ["http://127.0.0.1:1"]}
JOINT = {"type": "ensemble", "members": [{"reward": "pw"}]}
WARNING = "The reward pw only compares the answers of one call."


def pools(folder: Path, **values: Any) -> Path:
    drawn = [candidates([0.1, 0.5, 0.9, 0.3], golds=[0, 1, 1, 0]) for _ in range(4)]
    lines = [line(one, f"prompt {i}", reward="pw", **values) for i, one in enumerate(drawn)]
    return write(folder / "p.jsonl", lines)


@pytest.mark.parametrize("strategy", STEADY)
@pytest.mark.parametrize(
    "more",
    [
        {"score_by": {"pw": PAIRWISE}},
        {"score_by": {"pw": PAIRWISE, "j": POINTWISE}, "rewards": [{"reward": "pw"}]},
        {"score_by": {"pw": PAIRWISE, "joint": JOINT}, "rewards": [{"reward": "joint"}]},
    ],
)
def test_a_strategy_that_compares_requests_is_refused(
    tmp_path: Path, strategy: Mapping[str, Any], more: dict[str, Any]
) -> None:
    """Nothing has been asked by then: nobody listens at the judge's address."""
    with pytest.raises(SettingsError, match="only compares the answers of one") as caught:
        run(settings_of(pools(tmp_path), {"mine": strategy}, **more), lambda _: None)
    assert caught.value.key == "strategies.mine"


def test_a_recorded_reward_that_compares_is_refused_too(tmp_path: Path) -> None:
    path = pools(tmp_path, reward_compares=True)
    with pytest.raises(SettingsError, match="reward 'pw' only compares"):
        run(settings_of(path, {"mine": STEADY[0]}), lambda _: None)
    run(settings_of(pools(tmp_path), {"mine": STEADY[0]}), lambda _: None)


def test_other_strategies_get_a_warning(tmp_path: Path) -> None:
    told = run(settings_of(pools(tmp_path, reward_compares=True), BEST), lambda _: None)
    assert any(one.startswith(WARNING) for one in told.warnings)
    assert "which compares the candidates" in told.source
    told = run(settings_of(pools(tmp_path), BEST), lambda _: None)
    assert not any("only compares" in one for one in told.warnings)


def test_an_ensemble_of_unknown_rewards_is_refused(tmp_path: Path) -> None:
    more = {"score_by": {"joint": JOINT}}
    with pytest.raises(SettingsError) as caught:
        run(settings_of(pools(tmp_path), BEST, **more), lambda _: None)
    assert caught.value.key == "score_by.joint"


@pytest.mark.parametrize("compares", [True, False])
def test_calibrate_sets_no_threshold_on_it(tmp_path: Path, compares: bool) -> None:
    found = calibrated(pools(tmp_path, reward_compares=compares))
    names = {row.name for row in found.rows}
    assert ("good_enough" in names) is not compares
    assert bool(found.guarantees) is not compares
    assert any(one.startswith(WARNING) for one in found.warnings) is compares
    assert any("good_enough and cascade were left out" in one for one in found.warnings) is compares


async def test_calibrate_sets_no_scale_for_it(tmp_path: Path) -> None:
    def verdict(_: str) -> dict[str, float]:
        return {"A": 0.6, "B": 0.4, "T": 0.7}

    async with FakeUpstream(FakeJudge(verdict)) as judge:
        urls = {"urls": [judge.url]}
        score_by = {"pw": {**PAIRWISE, **urls}, "j": {**POINTWISE, **urls}}
        found = await asyncio.to_thread(calibrated, pools(tmp_path), score_by=score_by, reward="pw")
    assert set(found.scales) == {"j"}
    assert not any(row.name.startswith("good_enough") for row in found.rows)
