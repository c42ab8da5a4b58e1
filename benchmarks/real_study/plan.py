"""The steps of the study: their commands, what each needs, and how long it takes.

Each step is one or a few commands. `run` runs them in this order, and again what depends on
settings that have changed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from real_study.layout import LARGE, MODEL, TUNED, Layout
from trainers.runtime.hardware import multiplies_bfloat16

CONFIGS = "trainers/configs"
PUBLISHED = "BON_REAL_DATA"
"""Names the folder with the published files, which the repository does not have."""
SHORT_MINUTES = 0.5
"""Of a step in the short form."""


@dataclass(frozen=True)
class Command:
    """A program with its arguments."""

    arguments: Sequence[str]
    resume: Sequence[str] = ()
    """More of them where an earlier call was stopped."""
    anew: Sequence[str] = ()
    """More of them where an earlier call had other settings."""
    tagged: bool = False
    """It gets the hash of the step as `--tag`."""


@dataclass(frozen=True)
class StudyStep:
    """Finished with all its commands or not at all."""

    name: str
    minutes: float
    """Planned for two cores, not measured; what a step took is printed beside it."""
    commands: Sequence[Command]
    needs: Sequence[str] = ()
    reads: Sequence[str] = ()
    """Files of the repository whose contents decide what comes out."""
    draws: str = ""
    """What a measuring step draws, whichever part of it."""
    environment: str | None = None
    """A variable without which the step is left out."""


def steps_of(layout: Layout) -> list[StudyStep]:
    """In an order in which each comes after what it needs."""
    steps = [
        *_data(layout),
        *_reward_models(layout),
        *_policies(layout),
        *_measurements(layout),
        *_reports(layout),
    ]
    return [replace(step, minutes=SHORT_MINUTES) for step in steps] if layout.smoke else steps


def _data(layout: Layout) -> list[StudyStep]:
    sizes = layout.sizes
    limits = [f"per_task.train={sizes.train}", f"per_task.held_out={sizes.held_out}"]
    right = layout.folder / "right-answers"
    few = _few(layout, "max_steps=1", "log_every=1", "warmup_steps=0")
    prompts = [*_few(layout, "limit=12"), f"prompts={layout.tasks / 'train.jsonl'}"]
    answers, completed = layout.folder / "answers.jsonl", layout.folder / "answers-completed.jsonl"
    both, own = layout.folder / "labelled.jsonl", layout.folder / "labelled-own.jsonl"
    complete = _module(
        "completed", "--input", str(answers), "--examples", str(right / "examples.jsonl"),
        "--output", str(completed),
    )  # fmt: skip
    return [
        StudyStep(
            "model", 3, [_program("bon_gateway", "demo-models", "--real", "--output", MODEL)]
        ),
        StudyStep(
            "tasks", 1,
            [
                _always(
                    "tasks", None, [f"output={layout.tasks}", *limits, f"examples={sizes.examples}"]
                ),
                # Of every prompt to draw answers to.
                _always("tasks", None, [f"output={right}", *limits, f"examples={sizes.train}"]),
            ],
            ["model"],
        ),
        _trainer(
            layout, "sft", 8, ["tasks"],
            [f"train={layout.tasks / 'examples.jsonl'}", f"model={MODEL}", *few],
        ),
        StudyStep(
            "collect", 22,
            [
                _journal(
                    "collect", "real-collect.yaml",
                    [f"policy={layout.trained('sft')}", f"output={answers}", *prompts],
                )
            ],
            ["tasks", "sft"], [f"{CONFIGS}/real-collect.yaml"],
        ),
        StudyStep(
            "label", 2,
            [
                complete,
                _always("label", "real-label.yaml", [f"input={completed}", f"output={both}"]),
                _always("label", "real-label.yaml", [f"input={answers}", f"output={own}"]),
            ],
            ["collect"], [f"{CONFIGS}/real-label.yaml", *_sources("completed")],
        ),
    ]  # fmt: skip


def _reward_models(layout: Layout) -> list[StudyStep]:
    few = _few(layout, "max_steps=1", "log_every=1", "warmup_steps=0", "statistics_over=8")
    labelled = layout.folder / "labelled.jsonl"
    some = layout.folder / "labelled-few.jsonl"
    head = _module(
        "head", "--input", str(layout.folder / "labelled-own.jsonl"), "--output", str(some),
        "--lines", str(layout.sizes.weak_prompts),
    )  # fmt: skip
    adapter = [
        f"model={layout.trained('reward')}", f"output={layout.folder / 'reward-adapter'}",
        f"as_adapter.base={MODEL}", "as_adapter.r=5", "dtype=bfloat16",
    ]  # fmt: skip
    return [
        _trainer(
            layout,
            "reward",
            31,
            ["label", "sft"],
            [f"train={labelled}", f"model={layout.trained('sft')}", *few],
        ),
        # What the package ships: the reward model as an adapter on the model as it is published.
        StudyStep("adapter", 1, [_always("export", None, adapter)], ["reward"]),
        StudyStep("few-labels", 1, [head], ["label"]),
        _trainer(
            layout, "weak-reward", 5, ["few-labels"], [f"train={some}", f"model={MODEL}", *few]
        ),
    ]


def _policies(layout: Layout) -> list[StudyStep]:
    sft, reward = layout.trained("sft"), layout.trained("reward")
    train = layout.tasks / "train.jsonl"
    pairs = layout.folder / "pairs"
    prepare = [f"input={layout.folder / 'labelled-own.jsonl'}", f"output={pairs}"]
    dpo = [
        # Kept between runs with other settings, because it takes minutes.
        f"reference_cache={layout.folder / 'reference-logps'}",
        *_few(layout, "max_steps=1", "log_every=1", "warmup_steps=0", "batch_size=4"),
    ]
    grpo = _few(
        layout, "max_steps=1", "log_every=1", "warmup_steps=0", "batch_size=8", "group_size=4",
        "max_new_tokens=8",
    )  # fmt: skip
    ppo = _few(
        layout, "iterations=1", "prompts_per_iteration=8", "update.minibatch_size=8",
        "update.epochs=1", "sampling.max_new_tokens=8",
    )  # fmt: skip
    return [
        StudyStep(
            "pairs", 1, [_always("prepare", "real-prepare.yaml", prepare)],
            ["label"], [f"{CONFIGS}/real-prepare.yaml"],
        ),
        _trainer(
            layout, "dpo", 12, ["pairs", "sft"],
            [f"model={sft}", f"train={pairs / 'train.jsonl'}", *dpo],
        ),
        _trainer(
            layout, "ppo", 22, ["reward", "sft"],
            [f"model={sft}", f"reward={reward}", f"prompts={train}", *ppo],
        ),
        _trainer(
            layout, "grpo", 22, ["reward", "sft"],
            [f"model={sft}", f"reward={reward}", f"train={train}", *grpo],
        ),
        StudyStep(
            "export", 1,
            [
                _always(
                    "export", None,
                    [f"model={layout.trained(name)}", f"output={layout.served(name)}"],
                )
                for name in ("sft", "reward")
            ],
            ["sft", "reward"],
        ),
    ]  # fmt: skip


def _measurements(layout: Layout) -> list[StudyStep]:
    """In the short form one step, because starting engines takes longer than all else."""
    arms = layout.sizes.arms()
    if layout.smoke:
        every = [arm.name for arm in arms]
        return [_measure(layout, "answers", 3, every, ["export", *TUNED])]
    slices = layout.sizes.slices

    def of(policy: str) -> list[str]:
        return [arm.name for arm in arms if arm.policy == policy and arm.name != LARGE]

    return [
        _measure(layout, "sft-answers", 5, of("sft"), ["export"]),
        *(
            _measure(layout, f"pool-{number}", 15, [LARGE], ["export"], f"{number}/{slices}")
            for number in range(1, slices + 1)
        ),
        *(
            _measure(layout, f"{policy}-answers", 5, of(policy), ["export", policy])
            for policy in TUNED
        ),
        _measure(layout, "base-answers", 10, of("base"), ["export"]),
    ]


def _reports(layout: Layout) -> list[StudyStep]:
    measured = [step.name for step in _measurements(layout)]
    pools = [name for name in measured if name.startswith(("pool-", "answers"))]
    folder = ("--folder", str(layout.folder), *(("--smoke",) if layout.smoke else ()))
    return [
        StudyStep(
            "rescore", 10, [_module("rescore", *folder, anew=("--anew",))], [*pools, "weak-reward"]
        ),
        StudyStep(
            "external", 15, [_module("external", *folder)], ["reward"],
            _sources("external"), environment=PUBLISHED,
        ),
        StudyStep(
            "figures", 1, [_module("figures", *folder)],
            [*measured, "rescore", "external"],
            _sources("figures", "estimates", "pools", "layout"),
        ),
        StudyStep(
            "page", 1, [_module("page", *folder)], ["figures"], _sources("page", "tables", "plots")
        ),
    ]  # fmt: skip


def _trainer(
    layout: Layout, name: str, minutes: float, needs: Sequence[str], changes: Sequence[str]
) -> StudyStep:
    """A run of a trainer by the settings file of its name, in the faster of both types."""
    file = f"real-{name}.yaml"
    if multiplies_bfloat16():
        changes = [*changes, "dtype=bfloat16"]
    method = "reward" if name == "weak-reward" else name
    command = Command(
        _bon_train(method, file, [*changes, f"output={layout.trained(name)}"]),
        resume=("--resume",), anew=("--overwrite",),
    )  # fmt: skip
    return StudyStep(name, minutes, [command], needs, [f"{CONFIGS}/{file}"])


def _measure(
    layout: Layout, name: str, minutes: float, arms: Sequence[str], needs: Sequence[str],
    part: str = "1/1",
) -> StudyStep:  # fmt: skip
    command = _module(
        "measure", "--folder", str(layout.folder), *(("--smoke",) if layout.smoke else ()),
        "--part", part, "--arms", *arms, tagged=True,
    )  # fmt: skip
    sizes = layout.sizes
    draws = f"{[sizes.arm(arm) for arm in arms]}, {sizes.max_tokens} tokens"
    return StudyStep(name, minutes, [command], needs, draws=draws)


def _sources(*names: str) -> list[str]:
    """Modules of the study whose changes change what comes out."""
    return [f"benchmarks/real_study/{name}.py" for name in names]


def _few(layout: Layout, *changes: str) -> list[str]:
    """Settings of the short form alone."""
    return [*changes] if layout.smoke else []


def _always(method: str, file: str | None, changes: Sequence[str]) -> Command:
    """A command that is quick enough to begin anew."""
    return Command([*_bon_train(method, file, changes), "--overwrite"])


def _journal(method: str, file: str, changes: Sequence[str]) -> Command:
    """A command that goes on by itself with what its output holds."""
    return Command(_bon_train(method, file, changes), anew=("--overwrite",))


def _bon_train(method: str, file: str | None, changes: Sequence[str]) -> list[str]:
    config = [] if file is None else ["--config", f"{CONFIGS}/{file}"]
    settings = [part for change in changes for part in ("--set", change)]
    return ["-m", "trainers", method, *config, *settings]


def _module(name: str, *arguments: str, anew: Sequence[str] = (), tagged: bool = False) -> Command:
    return Command(["-m", f"real_study.{name}", *arguments], anew=anew, tagged=tagged)


def _program(module: str, *arguments: str) -> Command:
    return Command(["-m", module, *arguments])


def command_line(command: Command, more: Sequence[str]) -> list[str]:
    """As it is run, by this interpreter."""
    return [sys.executable, *command.arguments, *more]
