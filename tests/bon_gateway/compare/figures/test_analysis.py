"""The whole analysis on made-up records, of which the truth is known."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from bon_gateway.compare.ask.run import Measured
from bon_gateway.compare.ask.scoring import KnownScores
from bon_gateway.compare.figures.analysis import analyse
from bon_gateway.compare.figures.results import Results
from bon_gateway.compare.settings import CompareSettings
from bon_gateway.compare.types import ArmRecord, Key, ListedCandidate
from tests.bon_gateway.compare.support import settings_of

REPETITIONS = 300
PROMPTS, N = 25, 8
LENGTH, SCORED = 100.0, 0.5
"""Mean tokens of an answer; the reward model costs half a token for each."""
MATCHED = 4
TUNED_MEAN = 0.95
"""Between E[max] of 3 and of 4 standard normals."""
TRAINING = 300.0
PRICES = {
    "policy": {"input_per_million": 0, "output_per_million": 1e6},
    "reward": {"input_per_million": 1e6 * SCORED},
}
BREAK_EVEN = TRAINING / (MATCHED * LENGTH * (1 + SCORED) - LENGTH)


def record(rng: random.Random, arm: str, prompt: int, n: int, mean: float) -> ArmRecord:
    """One request: standard normal rewards around ``mean``, a length of its own."""
    length = round(LENGTH * rng.uniform(0.5, 1.5))
    drawn = [rng.gauss(mean, 1.0) for _ in range(n)]
    return ArmRecord(
        Key("closed", arm, prompt, 0),
        0.0,
        0.0,
        1.0,
        prompt_tokens=10,
        completion_tokens=n * length,
        winner_tokens=length,
        discarded_tokens=(n - 1) * length,
        reward_tokens=n * length if n > 1 else 0,
        n=n,
        reward=max(drawn),
        candidates=tuple(ListedCandidate("finished", value, length, None) for value in drawn),
    )


def simulated(settings: CompareSettings, rng: random.Random) -> Results:
    records = [record(rng, "base", prompt, N, 0.0) for prompt in range(PROMPTS)]
    records += [record(rng, "tuned", prompt, 1, TUNED_MEAN) for prompt in range(PROMPTS)]
    return analyse(settings, Measured(records, KnownScores(), len(records), True, {}, {}), PROMPTS)


def settings(folder: Path) -> CompareSettings:
    arms: dict[str, Any] = {
        "base": {"url": "http://x", "model": "m", "bon": {"n": N}},
        "tuned": {"url": "http://x", "model": "m", "training": "dpo"},
    }
    training = {"dpo": {"money": TRAINING}}
    return settings_of(
        folder, arms, prompts=PROMPTS, prices=PRICES, training=training, resamples=100
    )


def test_intervals_of_the_whole_decision_hold_the_truth(tmp_path: Path) -> None:
    """The break-even at the matched N, of which neither is known beforehand, and the means."""
    chosen = settings(tmp_path)
    rng = random.Random(11)
    held = {"break-even": 0, "matched n": 0, "cost": 0, "quality": 0}
    for _ in range(REPETITIONS):
        results = simulated(chosen, rng)
        base, tuned = results.arms
        (decided,) = results.tuned
        quality, cost = tuned.quality["selection"], base.cost
        assert quality is not None
        assert cost is not None
        held["quality"] += quality.low <= TUNED_MEAN <= quality.high
        held["cost"] += cost.low <= N * LENGTH * (1 + SCORED) <= cost.high
        held["matched n"] += decided.matched_n.low <= MATCHED <= decided.matched_n.high
        # Where one sample may be as good there is none, and nothing wrong is said.
        known = decided.break_even
        held["break-even"] += known is None or known.low <= BREAK_EVEN <= known.high
    spread = 3 * math.sqrt(0.95 * 0.05 / REPETITIONS)
    shares = {what: count / REPETITIONS for what, count in held.items()}
    print(shares)
    assert all(share >= 0.95 - spread for share in shares.values()), shares
    # Means are no wider than they should be; N is whole, and so a little is given away.
    assert shares["quality"] <= 0.95 + spread
    assert shares["cost"] <= 0.95 + spread
