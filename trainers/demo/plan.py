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

    def load(self, kind: type[SettingsT], file: str, step: str, **paths: object) -> SettingsT:
        """The shipped settings of a step with these paths, this seed, and the user's changes."""
        values: dict[str, object] = {key: str(path) for key, path in paths.items()}
        if "seed" in kind.model_fields:
            values["seed"] = self.seed
        values |= flat(self.changes.get(step, {}))
        overrides = [(f"steps.{step}", key, value) for key, value in values.items()]
        return load_settings(kind, shipped(file), overrides=overrides)

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
    sft = seed.load(
        SftSettings, "demo-sft.yaml", "sft",
        model=seed.folder / "untrained",
        train=seed.data / "sft.jsonl",
        output=seed.folder / "policy",
    )  # fmt: skip
    reward = seed.load(
        RewardSettings, "demo-reward.yaml", "reward",
        model=seed.folder / "policy",
        train=seed.data / "pairs.jsonl",
        output=seed.folder / "reward",
    )  # fmt: skip
    dpo = seed.load(
        DpoSettings, "demo-dpo.yaml", "dpo",
        model=seed.folder / "policy",
        train=seed.data / "on-policy-pairs.jsonl",
        output=seed.folder / "dpo",
        eval_prompts=seed.data / "held-out-prompts.jsonl",
    )  # fmt: skip
    ppo = seed.load(
        PpoSettings, "demo-ppo.yaml", "ppo",
        model=seed.folder / "policy",
        reward=seed.folder / "reward",
        prompts=seed.data / "pairs.jsonl",
        eval_prompts=seed.data / "held-out-prompts.jsonl",
        output=seed.folder / "ppo",
    )  # fmt: skip
    world = seed.load(WorldSettings, "demo-world.yaml", "world")
    held_out = "held-out-prompts.jsonl"
    return [
        seed.step("world", "world", world=world, folder=seed.folder, weak=seed.weak),
        seed.step("sft", "sft", ("world",), _epochs(sft), settings=sft),
        seed.step("reward", "reward", ("sft",), _epochs(reward), settings=reward),
        seed.draw("pairs", "pairs", "pairs.jsonl", "on-policy-pairs.jsonl"),
        seed.step("dpo", "dpo", ("pairs",), _epochs(dpo), settings=dpo),
        seed.draw("answers", "draw", held_out, "held-out-answers.jsonl"),
        *(_weak(seed) if seed.weak is not None else []),
        seed.step("ppo", "ppo", ("reward",), _iterations(ppo), settings=ppo),
        seed.judge("policy", "sft"),
        seed.judge("dpo", "dpo"),
        seed.quality("reward"),
        seed.judge("ppo", "ppo"),
    ]


def _weak(seed: Seed) -> list[Step]:
    """A reward model of few pairs, its best-of-n curve, and PPO that nothing holds back."""
    weak = seed.load(
        RewardSettings, "demo-weak-reward.yaml", "weak_reward",
        model=seed.folder / "policy",
        train=seed.data / "weak-pairs.jsonl",
        output=seed.folder / "weak-reward",
    )  # fmt: skip
    hacked = seed.load(
        PpoSettings, "demo-hacked-ppo.yaml", "hacked_ppo",
        model=seed.folder / "policy",
        reward=seed.folder / "weak-reward",
        prompts=seed.data / "pairs.jsonl",
        eval_prompts=seed.data / "held-out-prompts.jsonl",
        output=seed.folder / "hacked-ppo",
    )  # fmt: skip
    return [
        seed.step("weak-reward", "reward", ("sft",), _epochs(weak), settings=weak),
        seed.step("hacked-ppo", "ppo", ("weak-reward",), _iterations(hacked), settings=hacked),
        seed.quality("weak-reward"),
        seed.judge("hacked-ppo", "hacked-ppo"),
    ]  # fmt: skip


def _epochs(settings: TrainSettings) -> Callable[[], float]:
    return lambda: float(last_entry(settings.output).get("epoch", 0.0)) / settings.epochs


def _iterations(settings: PpoSettings) -> Callable[[], float]:
    return lambda: float(last_entry(settings.output).get("iteration", 0)) / settings.iterations


def last_entry(folder: Path) -> dict[str, Any]:
    """The last whole line of metrics that may still be written; empty if there is none."""
    path = folder / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = text.rpartition("\n")[0].splitlines()
    return json.loads(lines[-1]) if lines else {}
