from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.figures.diff import changes, read_results


def interval(value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


def run(**change: Any) -> dict[str, Any]:
    arm = {
        "name": "base",
        "asked": 100,
        "answered": 100,
        "quality": {"gold": interval(1.0, 0.9, 1.1)},
        "cost": interval(2.0, 1.9, 2.1),
        "latency": [
            {
                "phase": "closed",
                "quantiles": {"0.5": interval(100, 95, 105), "0.95": interval(200, 180, None)},
            }
        ],
    }
    return {"primary": "gold", "arms": {"base": {**copy.deepcopy(arm), **change}}}


def worse(new: dict[str, Any], tolerance: float = 0.05) -> list[str]:
    return [change.what for change in changes(run(), new, tolerance) if change.worse]


def test_the_same_run_is_not_worse() -> None:
    assert worse(run()) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"quality": {"gold": interval(0.5, 0.4, 0.6)}}, ["quality"]),
        ({"quality": {"gold": interval(0.85, 0.75, 0.95)}}, []),  # the intervals overlap
        ({"quality": {"gold": interval(1.5, 1.4, 1.6)}}, []),
        ({"quality": {"gold": None}}, ["quality"]),
        ({"cost": interval(2.5, 2.4, 2.6)}, ["cost"]),
        ({"cost": interval(1.0, 0.9, 1.1)}, []),
        ({"cost": interval(2.11, 2.105, 2.12)}, ["cost"]),
        ({"answered": 97}, ["failed"]),
        ({"answered": 99}, []),
        ({"latency": []}, ["latency closed p50, ms", "latency closed p95, ms"]),
    ],
)
def test_what_is_worse(change: dict[str, Any], what: list[str]) -> None:
    assert worse(run(**change), tolerance=0.04) == what


def test_a_small_loss_is_tolerated() -> None:
    new = run(cost=interval(2.15, 2.14, 2.16))
    assert worse(new, tolerance=0.05) == ["cost"]
    assert worse(new, tolerance=0.1) == []


def test_a_latency_that_became_infinite_is_worse() -> None:
    latency = copy.deepcopy(run()["arms"]["base"]["latency"])
    latency[0]["quantiles"]["0.5"] = interval(None, 300, None)
    assert worse(run(latency=latency)) == ["latency closed p50, ms"]


def test_an_arm_that_is_gone_is_worse() -> None:
    assert worse({"primary": "gold", "arms": {}}) == ["arm"]


def test_another_scorer_cannot_be_compared() -> None:
    with pytest.raises(SettingsError, match="quality is by gold in one and by other"):
        changes(run(), {**run(), "primary": "other"}, 0.05)


def test_reading(tmp_path: Path) -> None:
    tree = {"format": 1, "primary": "gold", "arms": [{"name": "a"}]}
    (tmp_path / "results.json").write_text(json.dumps(tree))
    assert read_results(tmp_path)["arms"] == {"a": {"name": "a"}}
    with pytest.raises(SettingsError, match="cannot be read"):
        read_results(tmp_path / "none.json")
    (tmp_path / "results.json").write_text(json.dumps({**tree, "format": 2}))
    with pytest.raises(SettingsError, match="is of format 2, not 1"):
        read_results(tmp_path)
    for text in ("[]", "{}", "oh", '{"format": 1, "arms": 3}'):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(SettingsError, match="holds no results"):
            read_results(tmp_path)
