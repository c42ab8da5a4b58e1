"""What the steps of the demo are given that no command has settings for.

Apart from the steps themselves, so that who plans them does not import torch.
"""

from dataclasses import dataclass
from pathlib import Path

from trainers.demo.settings import MeasureSettings, WorldSettings


@dataclass(frozen=True)
class WeakPairs:
    """Which pairs the reward model gets that is meant to be too weak."""

    count: int
    unsafe_share: float
    """How many of them answer an unsafe request, 0 to 1."""


@dataclass(frozen=True)
class WorldStep:
    world: WorldSettings
    folder: Path
    weak: WeakPairs | None = None
    """Also write these of the pairs to `weak-pairs.jsonl`."""


@dataclass(frozen=True)
class DrawStep:
    policy: Path
    prompts: Path
    target: Path
    seed: int
    measure: MeasureSettings


@dataclass(frozen=True)
class QualityStep:
    reward: Path
    pairs: Path
    answers: Path
    measure: MeasureSettings


@dataclass(frozen=True)
class JudgeStep:
    policy: Path
    start: Path
    prompts: Path
    seed: int
    measure: MeasureSettings
