"""`bon-train demo`: make the demo world and its two models, measure them, write model cards."""

from collections.abc import Sequence
from pathlib import Path

import torch

from trainers.base.card import append_figures
from trainers.base.context import RunContext
from trainers.base.data import write_records
from trainers.base.errors import SettingsError
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
from trainers.sft.run import train_sft
from trainers.sft.settings import SftSettings

STEPS = ("world", "sft", "reward", "evaluate")


def build_demo(output: Path, overrides: Sequence[str], command: str) -> Figures:
    """Write `data`, `untrained`, `policy`, `reward` and `figures.json` below `output`.

    `overrides` are `step.key=value`. Raises SettingsError for one whose step is not of `STEPS`.
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
    # All are read before anything is made, so that a mistake in the last costs no run.
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
    # Sums in one order whatever the number of cores, so that a seed gives the same figures; at
    # this size more threads gain little.
    torch.set_num_threads(1)
    write_world(world, output)
    train_sft(sft, RunContext(command))
    train_reward(pairs, RunContext(command))
    figures = evaluate(measured)
    for folder in (policy, reward):
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
