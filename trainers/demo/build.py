"""Make the whole demo world: data, tokenizer, policy, reward model, evaluation, model cards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from trainers.base.card import append_figures
from trainers.base.context import RunContext
from trainers.base.data import write_records
from trainers.base.errors import SettingsError
from trainers.base.settings import SettingsT, load_settings, shipped
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
    steps: dict[str, dict[str, Path]] = {
        "world": {},
        "sft": {
            "model": output / "untrained",
            "train": data / "sft.jsonl",
            "output": output / "policy",
        },
        "reward": {
            "model": output / "policy",
            "train": data / "pairs.jsonl",
            "output": output / "reward",
        },
        "evaluate": {
            "reward": output / "reward",
            "pairs": data / "held-out-pairs.jsonl",
            "policy": output / "policy",
            "prompts": data / "held-out-prompts.jsonl",
            "output": output / "figures.json",
        },
    }
    pairs: dict[str, list[str]] = {step: [] for step in steps}
    for override in overrides:
        step, dot, rest = override.partition(".")
        if not dot or step not in steps:
            raise SettingsError(
                f"--set {override}: expected one of {', '.join(steps)}, a dot, and key=value"
            )
        pairs[step].append(rest)

    def load(kind: type[SettingsT], step: str) -> SettingsT:
        own = [("--output", key, str(path)) for key, path in steps[step].items()]
        return load_settings(kind, shipped(f"demo-{step}.yaml"), pairs[step], overrides=own)

    return DemoSettings(
        load(WorldSettings, "world"),
        load(SftSettings, "sft"),
        load(RewardSettings, "reward"),
        load(EvaluateSettings, "evaluate"),
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
