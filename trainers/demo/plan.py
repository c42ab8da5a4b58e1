"""Which steps one seed of the demo takes, with which settings, and what waits for what."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trainers.base.settings import SettingsT, TrainSettings, flat, load_settings, shipped
from trainers.demo.data import WeakPairs
from trainers.demo.settings import MeasureSettings, StepChanges, WorldSettings
from trainers.demo.workers import PlanStep
from trainers.dpo.settings import DpoSettings
from trainers.ppo.settings import PpoSettings
from trainers.reward.settings import RewardTrainSettings
from trainers.sft.settings import SftSettings


@dataclass(frozen=True)
class Seed:
    """One seed's part of a run; its steps get it as an argument."""

    folder: Path
    seed: int
    measure: MeasureSettings
    changes: StepChanges
    weak: WeakPairs | None = None
    """Also over-optimise a reward model of these pairs."""
    prefix: str = ""
    """Of the names of its steps, so that several seeds can share a plan."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def policy(self) -> Path:
        """What supervised fine-tuning makes, and everything else starts from."""
        return self.folder / "policy"

    def load(self, kind: type[SettingsT], step: str, **paths: Path) -> SettingsT:
        """The shipped settings of a step with these paths, this seed, and the user's changes."""
        values: dict[str, object] = {key: str(path) for key, path in paths.items()}
        if "seed" in kind.model_fields:
            values["seed"] = self.seed
        name = step.replace("-", "_")
        values |= flat(self.changes.get(name, {}))
        overrides = [(f"steps.{name}", key, value) for key, value in values.items()]
        return load_settings(kind, shipped(f"demo-{step}.yaml"), overrides=overrides)

    def step(
        self,
        name: str,
        function: str,
        *needs: str,
        progress: Callable[[], float] | None = None,
        **arguments: Any,
    ) -> PlanStep:
        """A call of one of `trainers.demo.steps`, which the main process never imports."""
        wanted = tuple(self.prefix + need for need in needs)
        function = f"trainers.demo.steps:{function}"
        return PlanStep(self.prefix + name, function, arguments, wanted, progress)

    def train(
        self, name: str, kind: type[TrainSettings | PpoSettings], needs: str, **paths: Path
    ) -> PlanStep:
        """A run of a trainer, which starts from the SFT policy unless `paths` say otherwise."""
        paths = {"model": self.policy, "output": self.folder / name, **paths}
        settings = self.load(kind, name, **paths)
        progress = partial(share_done, settings)
        return self.step(name, "train", needs, progress=progress, settings=settings)

    def ppo(self, name: str, reward: str) -> PlanStep:
        return self.train(
            name, PpoSettings, reward,
            reward=self.folder / reward,
            prompts=self.data / "pairs.jsonl",
            eval_prompts=self.data / "held-out-prompts.jsonl",
        )  # fmt: skip


def steps_of(seed: Seed) -> list[PlanStep]:
    """The steps of one seed, the long ones of the critical path first where there is a choice."""
    folder, data = seed.folder, seed.data
    world = seed.load(WorldSettings, "world")
    weak = [
        # A reward model of few pairs, its best-of-n curve, and PPO that nothing holds back.
        seed.train("weak-reward", RewardTrainSettings, "sft", train=data / "weak-pairs.jsonl"),
        seed.ppo("hacked-ppo", "weak-reward"),
        seed.step(
            "weak-reward-quality", "quality", "weak-reward", "answers",
            seed=seed, reward="weak-reward",
        ),
        seed.step("judge-hacked-ppo", "judge", "hacked-ppo", seed=seed, policy="hacked-ppo"),
    ]  # fmt: skip
    return [
        seed.step("world", "prepare_world", settings=world, folder=folder, weak=seed.weak),
        seed.train(
            "sft", SftSettings, "world",
            model=folder / "untrained", train=data / "sft.jsonl", output=seed.policy,
        ),
        seed.train("reward", RewardTrainSettings, "sft", train=data / "pairs.jsonl"),
        seed.step("pairs", "draw_pairs", "sft", seed=seed),
        seed.train(
            "dpo", DpoSettings, "pairs",
            train=data / "on-policy-pairs.jsonl", eval_prompts=data / "held-out-prompts.jsonl",
        ),
        seed.step("answers", "draw_answers", "sft", seed=seed),
        *(weak if seed.weak is not None else []),
        seed.ppo("ppo", "reward"),
        seed.step("judge-sft", "judge", "sft", seed=seed, policy="policy"),
        seed.step("judge-dpo", "judge", "dpo", seed=seed, policy="dpo"),
        seed.step("reward-quality", "quality", "reward", "answers", seed=seed, reward="reward"),
        seed.step("judge-ppo", "judge", "ppo", seed=seed, policy="ppo"),
    ]  # fmt: skip


def share_done(settings: TrainSettings | PpoSettings) -> float:
    """How much of a run is done, 0 to 1, by the last line of its metrics."""
    path = settings.output / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    # The run may be writing the last line.
    lines = text.rpartition("\n")[0].splitlines()
    last = json.loads(lines[-1]) if lines else {}
    if isinstance(settings, PpoSettings):
        return float(last.get("iteration", 0)) / settings.iterations
    return float(last.get("epoch", 0.0)) / settings.epochs
