"""`bon-train reward`: train one reward model, or an ensemble of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset
from trl.trainer.reward_config import RewardConfig

from reward_server.network.sharing import attention_window
from trainers.base.bad_lines import BadLines
from trainers.base.card import append_figures, write_card
from trainers.base.context import RunContext
from trainers.base.data import data_hash
from trainers.base.fit import require_start
from trainers.base.outputs import remove
from trainers.base.report import write_report
from trainers.reward.data import TrainingData, prepare, show_example
from trainers.reward.held_out import HeldOutPairs, read_held_out, read_held_out_steps
from trainers.reward.measured import measured_meta
from trainers.reward.network import kind_of, load_network, trained_whole
from trainers.reward.settings import RewardTrainSettings
from trainers.reward.shared_prompt import final_layer, obstacle, row_length
from trainers.reward.tasks import RewardTask, task_of
from trainers.reward.trainer import Collator, PreferenceTrainer
from trainers.rewards.accuracy import ScoredPair
from trainers.rewards.ensemble import write_ensemble
from trainers.rewards.meta import RewardMeta, write_meta
from trainers.rewards.one import OneModel, load_reward_tokenizer
from trainers.rewards.pairs import scored
from trainers.rewards.quality import quality_figures, quality_part
from trainers.rewards.scorer import RewardScorer
from trainers.rewards.steps import PlacedSteps, scored_steps, step_figures
from trainers.runtime.arguments import common_arguments, is_main_process
from trainers.runtime.lora import Task, lora_config
from trainers.runtime.memory import memory_part
from trainers.runtime.run import claim, run_trainer
from trainers.runtime.saving import CONFIG, save
from trainers.runtime.trainer import RunTrainer


class _Trainer(RunTrainer, PreferenceTrainer):
    """Our rewards on TRL's loop, with the run's checkpoints and reports."""

    unshared: str | None = None
    """Why each answer computes its prompt again; None if they share it."""

    @property
    def sharing(self) -> str:
        if self.unshared is None:
            return "prompts are computed once for all answers"
        return f"prompts are computed again for each answer: {self.unshared}"

    def prompt_lines(self) -> list[str]:
        """The same for the page, with the batches for which sharing paid."""
        if self.unshared is not None:
            return [self.sharing]
        collator = self.data_collator
        assert isinstance(collator, Collator)
        counts = collator.batches
        return [self.sharing, f"batches with shared prompts: {counts[True]} of {counts.total()}"]


@dataclass(frozen=True)
class Prepared:
    """Shared by all members of an ensemble."""

    tokenizer: Any
    task: RewardTask
    data: TrainingData
    held_out: HeldOutPairs = field(default_factory=HeldOutPairs)
    held_out_steps: Sequence[PlacedSteps] = ()
    bad: BadLines = field(default_factory=BadLines)


def run(settings: RewardTrainSettings, context: RunContext) -> dict[str, float]:
    """`bon-train reward`."""
    if not context.dry_run:
        return train_reward(settings, context)
    prepared = _prepare(settings)
    data, noun = prepared.data, prepared.task.noun
    prepared.bad.report(context.show)
    context.show(show_example(prepared.tokenizer, data))
    context.show(f"{noun}: {len(data.rows)}, dropped as too long: {data.dropped}")
    if data.equal:
        context.show(f"dropped as equal once rendered: {data.equal}")
    return {}


def train_reward(settings: RewardTrainSettings, context: RunContext) -> dict[str, float]:
    """Train, write `settings.output`, and return the figures that its model card shows."""
    members = [
        settings.model_copy(
            update={"seed": seed, "seeds": (), "output": settings.output / f"seed-{seed}"}
        )
        for seed in settings.seeds
    ]
    for one in (settings, *members):
        claim(one, context)
    prepared = _prepare(settings)
    prepared.bad.report(context.show)
    if not members:
        return _train_one(settings, prepared, context)
    figures: dict[str, float] = {}
    for member in members:
        context.show(f"seed {member.seed}")
        found = _train_one(member, prepared, context)
        figures |= {f"seed {member.seed}: {name}": value for name, value in found.items()}
    if is_main_process():
        write_ensemble(settings.output, [one.output.name for one in members])
        remove([settings.output / CONFIG])  # of a single model that an earlier run left here
    return figures


def _prepare(settings: RewardTrainSettings) -> Prepared:
    tokenizer = load_reward_tokenizer(settings.model, settings.revision, settings)
    require_start(settings, tokenizer, kind_of(settings))
    task, bad = task_of(settings), BadLines(skip=settings.skip_bad)
    data = prepare(settings, task, tokenizer, bad)
    pairs = read_held_out(settings, tokenizer, bad)
    steps = read_held_out_steps(settings, tokenizer, bad)
    return Prepared(tokenizer, task, data, pairs, steps, bad)


def _train_one(
    settings: RewardTrainSettings, prepared: Prepared, context: RunContext
) -> dict[str, float]:
    data, tokenizer = prepared.data, prepared.tokenizer
    trainer = make_trainer(settings, prepared)
    context.show(trainer.sharing)
    result = run_trainer(trainer, settings, context)
    noun = prepared.task.noun
    figures = {
        "training loss (mean over the run)": result.training_loss,
        noun: len(data.rows),
        f"{noun} dropped as too long": data.dropped,
        f"{noun} dropped as equal once rendered": data.equal,
        **prepared.bad.figures(),
        "updates": result.global_step,
    }
    if prepared.held_out.dropped:
        figures["held-out pairs dropped as too long"] = prepared.held_out.dropped
    if settings.margin_weight is not None:
        figures[f"{noun} without a margin"] = data.without_margin
    if is_main_process():
        save(trainer.model, tokenizer, settings.output)
        hashes = {settings.train.name: data_hash(settings.train)}
        title = "Reward model"
        write_card(settings.output, title, context.command, hashes, settings, figures)
        meta = measured_meta(settings, tokenizer, data, hashes)
        write_meta(settings.output, meta)
        append_figures(settings.output, "Raw rewards of training answers", _spread(meta))
        quality = _scored_held_out(settings, prepared.held_out)
        if quality:
            figures |= quality_figures(quality)
            append_figures(settings.output, "On held-out pairs", quality_figures(quality))
        if prepared.held_out_steps:
            found = _held_out_steps(settings, prepared.held_out_steps)
            figures |= found
            append_figures(settings.output, "On held-out steps", found)
        parts = [memory_part(settings, *trainer.prompt_lines())]
        parts += [quality_part(quality)] if quality else []
        write_report(settings.output, title, figures, parts=parts)
    return figures


def _scored_held_out(settings: RewardTrainSettings, held_out: HeldOutPairs) -> list[ScoredPair]:
    """Scored with the model as it was written."""
    if not held_out.pairs:
        return []
    weights = settings.dimensions
    size = settings.batch_size
    scorer = RewardScorer.load(settings.output, batch_size=size, label_weights=weights)
    return scored(scorer, held_out.pairs)


def _held_out_steps(
    settings: RewardTrainSettings, records: Sequence[PlacedSteps]
) -> dict[str, float]:
    """Scored with the model as it was written."""
    model = OneModel.load(settings.output)
    return step_figures(scored_steps(model, records, settings.batch_size)).table()


def unshared(settings: RewardTrainSettings, net: Any) -> str | None:
    """Why the answers of a record do not share their prompt; None if they do."""
    if settings.objective == "stepwise":
        return "each record has one answer"
    if not settings.share_prompt:
        return "share_prompt is off"
    if settings.lora is not None and settings.lora.dropout > 0:
        return "the adapter has dropout"
    return obstacle(net)


def make_trainer(settings: RewardTrainSettings, prepared: Prepared) -> _Trainer:
    """The trainer that `bon-train reward` runs."""
    net = load_network(settings)
    reason = unshared(settings, net)
    shared = reason is None
    rows = prepared.data.rows
    if shared:
        # Else a record of many answers would fill up the rows of a batch of few.
        rows = [row | {"row_length": row_length(row["sequences"])} for row in rows]
    trainer = _Trainer(
        model=net,
        objective=prepared.task.objective,
        weights=prepared.task.weights or tuple((settings.dimensions or {"": 1.0}).values()),
        center=settings.center_rewards or 0.0,
        # A layer that is computed again in the backward pass would be computed whole there.
        read_only=shared and not settings.gradient_checkpointing and final_layer(net) is not None,
        args=RewardConfig(
            # The sampler groups by a column of lengths, which the model itself never sees.
            remove_unused_columns=False,
            **common_arguments(settings),
        ),
        train_dataset=Dataset.from_list(rows),
        data_collator=Collator(prepared.tokenizer.pad_token_id, shared, attention_window(net)),
        processing_class=prepared.tokenizer,
        peft_config=lora_config(settings.lora, task_type(settings), trained_whole(net)),
    )
    trainer.unshared = reason
    return trainer


def task_type(settings: RewardTrainSettings) -> Task:
    """The task of an adapter, in peft's words."""
    return "TOKEN_CLS" if settings.objective == "stepwise" else "SEQ_CLS"


def _spread(meta: RewardMeta) -> dict[str, float]:
    found = {
        "answers": meta.normalisation.answers,
        "mean reward": meta.normalisation.mean,
        "standard deviation of the reward": meta.normalisation.std,
    }
    if len(meta.dimensions) > 1:
        for one in meta.dimensions:
            found |= {f"mean of {one.name}": one.mean, f"deviation of {one.name}": one.std}
    return found
