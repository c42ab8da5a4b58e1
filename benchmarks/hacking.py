"""How much gold best-of-N keeps under a reward model that can be fooled, and how much the hedges
keep that `bon-gateway calibrate` chooses.

In the demo world gold is a program. The shipped policy answers held-out prompts, and reward models
of few preference pairs, half of them about unsafe requests, score the answers. With `--output` the
pools stay, with the shipped reward model's rewards too, as lines of the candidate log.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bon_gateway import demo_models
from bon_gateway.calibrate.figures.results import CalibrationResults, WayRow
from bon_gateway.calibrate.run import run
from bon_gateway.calibrate.settings import CalibrateSettings
from bon_gateway.compare.figures.words import spread
from trainers.base.context import RunContext
from trainers.base.data import Conversation, PromptRecord, read_records, write_records
from trainers.base.settings import load_settings, shipped
from trainers.demo.build import write_world
from trainers.demo.data import some_pairs
from trainers.demo.gold import gold
from trainers.demo.settings import WorldSettings
from trainers.policy.drawing import DrawnAnswer, PolicySampler
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardTrainSettings
from trainers.rewards.one import score

PAIRS, UNSAFE_SHARE = 300, 0.5
"""As in docs/training-study.md."""
LONGEST, BATCH = 64, 256


def make_pools(folder: Path, models: int, answers: int, prompts: int, epochs: int) -> Path:
    """Trains ``models`` weak reward models, on other pairs each, and writes the pools."""
    world = write_world(load_settings(WorldSettings, shipped("demo-world.yaml")), folder)
    rewards: dict[str, Path] = {}
    for seed in range(models):
        name = f"weak-{seed}"
        rewards[name] = folder / name
        pairs = list(world.pairs)
        if seed:
            random.Random(seed).shuffle(pairs)
        file = folder / f"{name}.jsonl"
        write_records(file, some_pairs(pairs, PAIRS, UNSAFE_SHARE))
        changes = {
            "model": str(demo_models.policy_path()), "train": str(file),
            "output": str(rewards[name]), "seed": seed, "epochs": epochs,
        }  # fmt: skip
        overrides = [("hacking", key, value) for key, value in changes.items()]
        settings = load_settings(
            RewardTrainSettings, shipped("demo-weak-reward.yaml"), overrides=overrides
        )
        train_reward(settings, RunContext("benchmarks/hacking.py"))
    records = read_records(PromptRecord, folder / "data" / "held-out-prompts.jsonl")
    asked = [record.asked for record in records][:prompts]
    drawn = PolicySampler(demo_models.policy_path()).draw(
        asked, answers, seed=0, max_new_tokens=LONGEST, batch_size=BATCH
    )
    path = folder / "pools.jsonl"
    write_records(path, lines(asked, drawn, {"full": demo_models.reward_path(), **rewards}))
    return path


def lines(
    asked: Sequence[Conversation],
    drawn: Sequence[Sequence[DrawnAnswer]],
    rewards: Mapping[str, Path],
) -> Iterator[dict[str, Any]]:
    """Lines of the candidate log; the reward is that of ``rewards["full"]``."""
    judged = [one.said(said.text) for one, row in zip(asked, drawn, strict=True) for said in row]
    scores = {name: iter(score(model, judged, BATCH)) for name, model in rewards.items()}
    for place, (one, row) in enumerate(zip(asked, drawn, strict=True)):
        candidates = []
        for index, said in enumerate(row):
            found = {name: float(next(values)) for name, values in scores.items()}
            candidates.append(
                {
                    "index": index,
                    "status": "finished" if said.ended else "truncated",
                    "finish_reason": "stop" if said.ended else "length",
                    "reward": found.pop("full"),
                    "rewards": found,
                    "tokens": len(said.ids),
                    "message": said.message,
                    "gold": gold(one.messages, said.text).total,
                }
            )
        yield {
            "v": 1,
            "request_id": f"demo-{place:05d}",
            "model": "demo",
            "policy": "demo",
            "policy_revision": None,
            "reward": "full",
            "messages": list(one.messages),
            "sampling": {"temperature": 1.0, "max_tokens": LONGEST},
            "candidates": candidates,
        }


def calibrated(pools: Path, reward: str) -> CalibrationResults:
    settings = CalibrateSettings.model_validate(
        {"pools": [str(pools)], "reward": reward, "extract": {"type": "exact"}}
    )
    return run(settings, settings.pools, lambda _: None)


def shown(found: CalibrationResults) -> Iterator[str]:
    """Gold as a share of the best gold of best-of-n at any n, for what draws all candidates."""
    best = max(found.curve, key=lambda point: point.gold.value if point.gold else 0.0)
    yield f"the best n is {best.n} with gold {spread(best.gold)}"
    if found.over_optimisation is not None:
        yield found.over_optimisation.told
    for row in wide(found):
        yield f"  {row.name:24} {spread(row.share):24} gold {spread(row.gold)}"


def wide(found: CalibrationResults) -> list[WayRow]:
    """Without those that draw fewer candidates."""
    return [row for row in found.rows if row.settings and row.settings.get("n", 1) == found.n]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=3, help="weak reward models")
    parser.add_argument("--answers", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pools", type=Path, help="pools that an earlier run has made")
    parser.add_argument("--output", type=Path, help="where models and pools stay")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if options.smoke:
        options.models, options.answers, options.prompts, options.epochs = 1, 8, 8, 1
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        sizes = (options.models, options.answers, options.prompts, options.epochs)
        pools = options.pools or make_pools(options.output or Path(scratch), *sizes)
        found = {f"weak-{s}": calibrated(pools, f"weak-{s}") for s in range(options.models)}
    for name, results in found.items():
        print(name, *shown(results), sep="\n")
    if options.json:
        shares = {
            name: {row.name: row.share.value for row in wide(results) if row.share}
            for name, results in found.items()
        }
        options.json.write_text(json.dumps(shares, indent=2) + "\n")


if __name__ == "__main__":
    main()
