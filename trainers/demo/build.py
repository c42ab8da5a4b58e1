"""Make the whole demo world: data, tokenizer, policy, reward model, evaluation, model cards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from trainers.base.card import append_figures
from trainers.base.context import RunContext
from trainers.base.data import write_records
from trainers.base.errors import SettingsError
from trainers.base.settings import load_settings, shipped
from trainers.demo.data import make_world
from trainers.demo.model import save_untrained_policy
from trainers.demo.settings import WorldSettings
from trainers.demo.tokenizer import build_tokenizer
from trainers.evaluation.figures import Figures
from trainers.evaluation.run import evaluate
from trainers.evaluation.settings import EvaluateSettings
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardSettings
from trainers.sft.run import train_sft
from trainers.sft.settings import SftSettings


@dataclass(frozen=True)
class DemoSettings:
    """The settings of the four steps, all within one output folder."""

    world: WorldSettings
    sft: SftSettings
    reward: RewardSettings
    evaluate: EvaluateSettings


def load_demo_settings(output: Path, overrides: Sequence[str] = ()) -> DemoSettings:
    """The shipped settings with their paths below `output` and `step.key=value` overrides.

    Raises SettingsError for an override whose step is not world, sft, reward or evaluate.
    """
    data = output / "data"
    steps: dict[str, list[str]] = {
        "world": [],
        "sft": [
            f"model={output / 'untrained'}",
            f"train={data / 'sft.jsonl'}",
            f"output={output / 'policy'}",
        ],
        "reward": [
            f"model={output / 'policy'}",
            f"train={data / 'pairs.jsonl'}",
            f"output={output / 'reward'}",
        ],
        "evaluate": [
            f"reward={output / 'reward'}",
            f"pairs={data / 'held-out-pairs.jsonl'}",
            f"policy={output / 'policy'}",
            f"prompts={data / 'held-out-prompts.jsonl'}",
            f"output={output / 'figures.json'}",
        ],
    }
    for override in overrides:
        step, dot, rest = override.partition(".")
        if not dot or step not in steps:
            raise SettingsError(
                f"--set {override}: expected one of {', '.join(steps)}, a dot, and key=value"
            )
        steps[step].append(rest)
    return DemoSettings(
        load_settings(WorldSettings, shipped("demo-world.yaml"), steps["world"]),
        load_settings(SftSettings, shipped("demo-sft.yaml"), steps["sft"]),
        load_settings(RewardSettings, shipped("demo-reward.yaml"), steps["reward"]),
        load_settings(EvaluateSettings, shipped("demo-evaluate.yaml"), steps["evaluate"]),
    )


def build_demo(output: Path, settings: DemoSettings, command: str) -> Figures:
    """Write `data`, `untrained`, `policy`, `reward` and `figures.json` below `output`."""
    # Sums in one order whatever the number of cores, so that a seed gives the same figures; at
    # this size more threads gain little.
    torch.set_num_threads(1)
    world = make_world(settings.world)
    data = output / "data"
    write_records(data / "sft.jsonl", world.sft)
    write_records(data / "pairs.jsonl", world.pairs)
    write_records(data / "held-out-pairs.jsonl", world.held_out_pairs)
    write_records(data / "held-out-prompts.jsonl", world.held_out_prompts)
    save_untrained_policy(build_tokenizer(), output / "untrained", settings.world.seed)
    train_sft(settings.sft, RunContext(command))
    train_reward(settings.reward, RunContext(command))
    figures = evaluate(settings.evaluate)
    for folder in ("policy", "reward"):
        append_figures(output / folder, "On held-out prompts", figures.table())
    return figures
