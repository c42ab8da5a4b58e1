"""`bon-train demo`: make the demo world and its two models, measure them, write model cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from trainers.base.card import append_figures
from trainers.base.context import RunContext
from trainers.base.data import write_records
from trainers.base.errors import SettingsError
from trainers.base.outputs import claim_files
from trainers.base.settings import SettingsT, load_settings, shipped
from trainers.demo.data import WorldData, make_world
from trainers.demo.model import save_untrained_policy
from trainers.demo.settings import WorldSettings
from trainers.demo.tokenizer import build_tokenizer
from trainers.evaluation.figures import Figures
from trainers.evaluation.run import evaluate
from trainers.evaluation.settings import EvaluateSettings
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardTrainSettings
from trainers.runtime.run import claim
from trainers.sft.run import train_sft
from trainers.sft.settings import SftSettings

STEPS = ("world", "sft", "reward", "evaluate")


@dataclass(frozen=True)
class DemoPlan:
    """The settings of every step. All are read before anything is made, so that a mistake in the
    last costs no run."""

    world: WorldSettings
    sft: SftSettings
    reward: RewardTrainSettings
    evaluate: EvaluateSettings

    def as_yaml(self) -> str:
        """Each step's settings below its name."""
        steps = {step: getattr(self, step).model_dump(mode="json") for step in STEPS}
        return str(yaml.safe_dump(steps, sort_keys=False, allow_unicode=True))


def plan_demo(output: Path, overrides: Sequence[str]) -> DemoPlan:
    """The shipped settings, changed by `overrides`, which are `step.key=value`.

    Raises SettingsError for one whose step is not of `STEPS`.
    """
    for override in overrides:
        if override.partition(".")[0] not in STEPS or "." not in override:
            raise SettingsError(
                f"--set {override}: expected one of {', '.join(STEPS)}, a dot, and key=value"
            )

    def load(kind: type[SettingsT], step: str, **paths: Path) -> SettingsT:
        pairs = [o.removeprefix(f"{step}.") for o in overrides if o.startswith(f"{step}.")]
        own = [("--output", key, str(path)) for key, path in paths.items()]
        return load_settings(kind, shipped(f"demo-{step}.yaml"), pairs, overrides=own)

    data, policy, reward = output / "data", output / "policy", output / "reward"
    world = load(WorldSettings, "world")
    sft = load(
        SftSettings, "sft", model=output / "untrained", train=data / "sft.jsonl", output=policy
    )
    pairs = load(
        RewardTrainSettings, "reward", model=policy, train=data / "pairs.jsonl", output=reward
    )
    measured = load(
        EvaluateSettings,
        "evaluate",
        reward=reward,
        pairs=data / "held-out-pairs.jsonl",
        policy=policy,
        prompts=data / "held-out-prompts.jsonl",
        output=output / "figures.json",
    )
    return DemoPlan(world, sft, pairs, measured)


def build_demo(output: Path, overrides: Sequence[str], context: RunContext) -> Figures:
    """Write `data`, `untrained`, `policy`, `reward` and `figures.json` below `output`.

    Raises SettingsError as `plan_demo` does, RunError for an output that exists.
    """
    plan = plan_demo(output, overrides)
    # Sums in one order whatever the number of cores, so that a seed gives the same figures; at
    # this size more threads gain little.
    torch.set_num_threads(1)
    for run in (plan.sft, plan.reward):
        claim(run, context)
    made = [output / "data", output / "untrained", plan.evaluate.output]
    claim_files(made, context, folders=True)
    write_world(plan.world, output)
    train_sft(plan.sft, context)
    train_reward(plan.reward, context)
    figures = evaluate(plan.evaluate)
    for folder in (plan.sft.output, plan.reward.output):
        append_figures(folder, "On held-out prompts", figures.table())
    return figures


def write_world(settings: WorldSettings, folder: Path) -> WorldData:
    """Draw the world and write `data` and `untrained` into `folder`."""
    world = make_world(settings)
    data = folder / "data"
    write_records(data / "sft.jsonl", world.sft)
    write_records(data / "pairs.jsonl", world.pairs)
    write_records(data / "held-out-pairs.jsonl", world.held_out_pairs)
    write_records(data / "held-out-prompts.jsonl", world.held_out_prompts)
    save_untrained_policy(build_tokenizer(), folder / "untrained", settings.seed)
    return world
