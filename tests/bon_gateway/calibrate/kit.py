"""Pools whose reward model is right up to a point, and settings that calibrate on them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bon_gateway.calibrate.figures.results import CalibrationResults
from bon_gateway.calibrate.pools import CalibrationPrompts, calibration_prompts
from bon_gateway.calibrate.run import run
from bon_gateway.calibrate.settings import CalibrateSettings
from bon_gateway.replay.log import read_log
from bon_gateway.replay.pools import pool_set
from tests.bon_gateway.replay.kit import candidates, line


def settings_of(path: Path, **more: Any) -> CalibrateSettings:
    tree = {
        "pools": [str(path)],
        "resamples": 100,
        "output": str(path.parent / "out"),
        **more,
    }
    return CalibrateSettings.model_validate(tree)


def prompts_of(path: Path, **more: Any) -> CalibrationPrompts:
    settings = settings_of(path, **more)
    found = pool_set(read_log(settings.pools), settings.model, at_least=1)
    return calibration_prompts(found, settings)


def calibrated(path: Path, **more: Any) -> CalibrationResults:
    settings = settings_of(path, **more)
    return run(settings, settings.pools, lambda _: None)


def fooled(prompts: int = 40, size: int = 16, seed: int = 1) -> list[dict[str, Any]]:
    """One candidate in 25 has found what fools the reward model: it is bad, and its reward is a
    little above those of all others. Among the others reward is right."""
    rng = random.Random(seed)
    lines = []
    for number in range(prompts):
        rewards, golds = [], []
        for _ in range(size):
            worth = rng.random()
            fools = rng.random() < 0.04
            rewards.append(1.0 + 0.2 * worth if fools else worth)
            golds.append(0.0 if fools else worth)
        tokens = [rng.randint(5, 15) for _ in range(size)]
        lines.append(line(candidates(rewards, golds=golds, tokens=tokens), f"prompt {number}"))
    return lines


def trusted(prompts: int = 40, size: int = 16, seed: int = 1) -> list[dict[str, Any]]:
    """Gold is 1 with the chance that the reward says, and 0 otherwise."""
    rng = random.Random(seed)
    lines = []
    for number in range(prompts):
        rewards = [rng.random() for _ in range(size)]
        golds = [float(rng.random() < reward) for reward in rewards]
        lines.append(line(candidates(rewards, golds=golds), f"prompt {number}"))
    return lines


def rows(results: CalibrationResults) -> Mapping[str, Any]:
    return {row.name: row for row in results.rows}
