"""The table of `bon-train`'s commands. It imports no torch, so that --help comes at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, cast

from trainers.base.context import RunContext
from trainers.base.settings import Settings
from trainers.demo.settings import DemoStudySettings, DemoTrainSettings
from trainers.dpo.settings import DpoSettings
from trainers.evaluation.settings import EvaluateSettings
from trainers.export.settings import ExportSettings
from trainers.grpo.settings import GrpoSettings
from trainers.iterate.settings import IterateSettings
from trainers.ppo.settings import PpoSettings
from trainers.preferences.settings import CollectSettings, LabelSettings, PrepareSettings
from trainers.reward.settings import RewardTrainSettings
from trainers.sft.settings import SftSettings
from trainers.tasks.settings import TasksSettings

OUTPUT = "{0.output}"
"""Where a command writes; `{0}` is its settings."""
Run = Callable[[Any, RunContext], Mapping[str, float]]
"""Takes the command's settings; returns the figures that are printed at the end."""


@dataclass(frozen=True)
class Command:
    """What `bon-train` knows of one of its commands."""

    summary: str
    settings: type[Settings]
    run: str
    """``module:function`` of a `Run`, imported when the command is called."""
    dry_run: bool = False
    """Whether it knows --dry-run."""
    resume: bool = False
    """Whether it knows --resume."""
    writes: tuple[str, ...] = (OUTPUT,)
    """What it writes; `{0}` is its settings."""
    then: tuple[str, ...] = ()
    """The commands that may come next."""

    def load(self) -> Run:
        module, _, function = self.run.partition(":")
        return cast(Run, getattr(import_module(module), function))


Training = partial(Command, dry_run=True, resume=True)
"""A command that trains."""

EXPORT = "bon-train export --config export.yaml --set model={0.output}"
TRAIN_ON = tuple(
    f"bon-train {name} --config {name}.yaml --set train={{0.output}}/train.jsonl "
    f"--set {measured_on}={{0.output}}/held-out.jsonl"
    for name, measured_on in (("reward", "eval_pairs"), ("dpo", "eval_prompts"))
)
EVALUATE = (
    "bon-train evaluate --config evaluate.yaml --set reward={0.output} --set pairs={0.eval_pairs}"
)

COMMANDS: dict[str, Command] = {
    "sft": Training(
        "fine-tune a policy on conversations",
        SftSettings,
        "trainers.sft.run:train_sft",
        then=("bon-train dpo --config dpo.yaml --set model={0.output}", EXPORT),
    ),
    "reward": Training(
        "train a reward model on preference pairs",
        RewardTrainSettings,
        "trainers.reward.run:run",
        then=(
            EVALUATE,
            "reward-server --model {0.output}",
        ),
    ),
    "tasks": Command(
        "write prompts whose answers a program can check, split into train and held-out",
        TasksSettings,
        "trainers.tasks.run:run",
        dry_run=True,
        writes=("{0.output}/train.jsonl", "{0.output}/held-out.jsonl", "{0.output}/gsm8k.jsonl"),
        then=("bon-train collect --config collect.yaml --set prompts={0.output}/train.jsonl",),
    ),
    "collect": Command(
        "draw several answers to each prompt from a server or a policy",
        CollectSettings,
        "trainers.preferences.collect:run",
        dry_run=True,
        then=("bon-train label --config label.yaml --set input={0.output}",),
    ),
    "label": Command(
        "say which answers are better: by a judge, a rule, a reward model or by hand",
        LabelSettings,
        "trainers.preferences.label:run",
        dry_run=True,
        then=("bon-train prepare --config prepare.yaml --set input={0.output}",),
    ),
    "prepare": Command(
        "read preference data of any known format, split it by prompt, write canonical files",
        PrepareSettings,
        "trainers.preferences.prepare:run",
        dry_run=True,
        writes=(
            "{0.output}/train.jsonl",
            "{0.output}/held-out.jsonl",
            "{0.output}/prepare.report.json",
        ),
        then=TRAIN_ON,
    ),
    "dpo": Training(
        "tune a policy on preference pairs",
        DpoSettings,
        "trainers.dpo.run:train_dpo",
        then=(EXPORT,),
    ),
    "iterate": Training(
        "rounds of sampling, labelling by a reward model, and DPO",
        IterateSettings,
        "trainers.iterate.run:run",
        writes=("{0.last_policy}", "{0.output}/rounds.json"),
        then=("bon-train export --config export.yaml --set model={0.last_policy}",),
    ),
    "grpo": Training(
        "tune a policy against a reward model with GRPO",
        GrpoSettings,
        "trainers.grpo.run:train_grpo",
        then=(EXPORT,),
    ),
    "ppo": Training(
        "tune a policy against a reward model with PPO",
        PpoSettings,
        "trainers.ppo.train:run",
        then=(EXPORT,),
    ),
    "evaluate": Command(
        "measure a reward model, and best-of-n by it on a policy of yours",
        EvaluateSettings,
        "trainers.evaluation.run:run",
        writes=("{0.output}", "{0.page}"),
        then=("reward-server --model {0.reward_folder}",),
    ),
    "demo-train": Command(
        "the demo world once through: SFT, reward model, DPO, PPO, and a report with plots",
        DemoTrainSettings,
        "trainers.demo.pipeline:run_train",
        then=("bon-gateway compare --embedded --output runs/demo-compare --trained {0.output}",),
    ),
    "demo-study": Command(
        "the demo world over several seeds, with over-optimisation on purpose",
        DemoStudySettings,
        "trainers.demo.pipeline:run_study",
    ),
    "export": Command(
        "make a folder that vLLM serves, from a checkpoint or an adapter",
        ExportSettings,
        "trainers.export.run:export",
    ),
}
