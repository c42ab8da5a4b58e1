"""Which steps one seed of the demo takes, with which settings, and what waits for what."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from trainers.base.settings import Settings, TrainSettings, flat, load_settings, shipped
from trainers.demo.data import WeakPairs
from trainers.demo.settings import MeasureSettings, StepChanges, WorldSettings
from trainers.demo.workers import Step
from trainers.dpo.settings import DpoSettings
from trainers.ppo.settings import PpoSettings
from trainers.reward.settings import RewardSettings
from trainers.sft.settings import SftSettings

SettingsT = TypeVar("SettingsT", bound=Settings)
TRAINERS: dict[str, type[TrainSettings | PpoSettings]] = {
    "sft": SftSettings,
    "reward": RewardSettings,
    "dpo": DpoSettings,
    "ppo": PpoSettings,
}
STEPS = "trainers.demo.steps"
"""Their module, which the processes that run them import."""


@dataclass(frozen=True)
class Seed:
    """One seed's part of a run."""

    folder: Path
    seed: int
    measure: MeasureSettings
    changes: StepChanges
    weak: WeakPairs | None = None
    """Also over-optimise a reward model of these pairs."""
    prefix: str = ""
    """Of the names of its steps, where several seeds share a plan."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

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
        needs: tuple[str, ...] = (),
        progress: Callable[[], float] | None = None,
        **arguments: Any,
    ) -> Step:
        wanted = tuple(self.prefix + need for need in needs)
        return Step(self.prefix + name, f"{STEPS}:{function}", arguments, wanted, progress)

    def train(self, name: str, function: str, needs: str, **paths: Path) -> Step:
        """A run of a trainer, which starts from the SFT policy unless `paths` say otherwise."""
        settings = self.load(
            TRAINERS[function], name,
            **{"model": self.folder / "policy", "output": self.folder / name, **paths},
        )  # fmt: skip
        return self.step(name, function, (needs,), progress_of(settings), settings=settings)

    def draw(self, name: str, function: str, prompts: str, target: str) -> Step:
        return self.step(
            name, function, ("sft",),
            policy=self.folder / "policy",
            prompts=self.data / prompts,
            target=self.data / target,
            seed=self.seed,
            measure=self.measure,
        )  # fmt: skip

    def judge(self, policy: str, needs: str) -> Step:
        return self.step(
            f"judge-{needs}", "judged", (needs,),
            policy=self.folder / policy,
            start=self.folder / "policy",
            prompts=self.data / "held-out-prompts.jsonl",
            seed=self.seed,
            measure=self.measure,
        )  # fmt: skip

    def quality(self, reward: str) -> Step:
        return self.step(
            f"{reward}-quality", "quality", (reward, "answers"),
            reward=self.folder / reward,
            pairs=self.data / "held-out-pairs.jsonl",
            answers=self.data / "held-out-answers.jsonl",
            measure=self.measure,
        )  # fmt: skip


def plan(seed: Seed) -> list[Step]:
    """The steps of one seed, the long ones of the critical path first where there is a choice."""
    folder, data = seed.folder, seed.data
    world = seed.load(WorldSettings, "world")
    held_out = data / "held-out-prompts.jsonl"
    return [
        seed.step("world", "world", world=world, folder=folder, weak=seed.weak),
        seed.train(
            "sft", "sft", "world",
            model=folder / "untrained", train=data / "sft.jsonl", output=folder / "policy",
        ),
        seed.train("reward", "reward", "sft", train=data / "pairs.jsonl"),
        seed.draw("pairs", "pairs", "pairs.jsonl", "on-policy-pairs.jsonl"),
        seed.train(
            "dpo", "dpo", "pairs", train=data / "on-policy-pairs.jsonl", eval_prompts=held_out
        ),
        seed.draw("answers", "draw", held_out.name, "held-out-answers.jsonl"),
        *(_weak(seed) if seed.weak is not None else []),
        _ppo(seed, "ppo", "reward"),
        seed.judge("policy", "sft"),
        seed.judge("dpo", "dpo"),
        seed.quality("reward"),
        seed.judge("ppo", "ppo"),
    ]  # fmt: skip


def _weak(seed: Seed) -> list[Step]:
    """A reward model of few pairs, its best-of-n curve, and PPO that nothing holds back."""
    return [
        seed.train("weak-reward", "reward", "sft", train=seed.data / "weak-pairs.jsonl"),
        _ppo(seed, "hacked-ppo", "weak-reward"),
        seed.quality("weak-reward"),
        seed.judge("hacked-ppo", "hacked-ppo"),
    ]


def _ppo(seed: Seed, name: str, reward: str) -> Step:
    return seed.train(
        name, "ppo", reward,
        reward=seed.folder / reward,
        prompts=seed.data / "pairs.jsonl",
        eval_prompts=seed.data / "held-out-prompts.jsonl",
    )  # fmt: skip


def progress_of(settings: TrainSettings | PpoSettings) -> Callable[[], float]:
    """How far a run is, by its metrics."""
    if isinstance(settings, PpoSettings):
        return lambda: float(last_entry(settings.output).get("iteration", 0)) / settings.iterations
    return lambda: float(last_entry(settings.output).get("epoch", 0.0)) / settings.epochs


def last_entry(folder: Path) -> dict[str, Any]:
    """The last whole line of metrics that may still be written; empty if there is none."""
    path = folder / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = text.rpartition("\n")[0].splitlines()
    return json.loads(lines[-1]) if lines else {}
