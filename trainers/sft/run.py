"""Supervised fine-tuning: teach a policy to write the assistant's turns of a conversation."""

from dataclasses import dataclass

from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from trainers.base.bad_lines import BadLines
from trainers.base.card import write_card
from trainers.base.context import RunContext
from trainers.base.data import Conversation, Demonstration, data_hash, read_placed
from trainers.base.errors import DataError
from trainers.base.fit import require_start
from trainers.base.loading import load_model
from trainers.base.report import write_report
from trainers.base.special_tokens import SPECIAL, with_special_tokens
from trainers.base.tokenizer import training_tokenizer
from trainers.policy.assistant_mask import last_turn, masked_ids
from trainers.policy.ends import declared_ends
from trainers.runtime.arguments import common_arguments, is_main_process
from trainers.runtime.lora import lora_config
from trainers.runtime.memory import memory_part
from trainers.runtime.run import claim, run_trainer
from trainers.runtime.saving import save
from trainers.runtime.trainer import RunTrainer
from trainers.sft.padding_free import require_apart
from trainers.sft.settings import SftSettings

IGNORED = -100
"""The label of a token that the loss does not count."""


@dataclass(frozen=True)
class SftData:
    """Tokenised conversations; `labels` repeats `input_ids` where the assistant wrote."""

    rows: list[dict[str, list[int]]]
    dropped: int
    """Conversations longer than the limit."""


def prepare_sft(
    settings: SftSettings, tokenizer: PreTrainedTokenizerBase, bad: BadLines | None = None
) -> SftData:
    """Read and tokenise the training file; `bad` counts what is skipped.

    Raises DataError for a bad line, and if no conversation is short enough; ModelError as
    `tokenise` does.
    """
    bad = bad or BadLines(skip=settings.skip_bad)
    ends = declared_ends(tokenizer, settings.model, settings.revision)
    rows = []
    placed = read_placed(Demonstration, settings.train, bad)
    bad.note(SPECIAL, with_special_tokens(tokenizer, placed))
    for where, record in placed:
        with bad.tried():
            rows += _rows(settings, tokenizer, record.shown, where, ends, bad)
    kept = [row for row in rows if len(row["input_ids"]) <= settings.max_length]
    if not kept:
        skipped = f", or was skipped as one of {bad.count} bad lines" if bad.count else ""
        raise DataError(
            f"{settings.train}: every record exceeds max_length {settings.max_length}{skipped}"
        )
    return SftData(kept, len(rows) - len(kept))


def _rows(
    settings: SftSettings,
    tokenizer: PreTrainedTokenizerBase,
    shown: Conversation,
    where: str,
    ends: frozenset[int],
    bad: BadLines,
) -> list[dict[str, list[int]]]:
    if settings.learn == "all":
        return [tokenise(tokenizer, shown, where, ends, bad)]
    turns = [i for i, one in enumerate(shown.messages, start=1) if one["role"] == "assistant"]
    learnt = turns if settings.learn == "each" else turns[-1:]
    return [
        _labelled(*last_turn(tokenizer, shown.first(count), where, ends, bad)) for count in learnt
    ]


def tokenise(
    tokenizer: PreTrainedTokenizerBase,
    shown: Conversation,
    where: str,
    ends: frozenset[int] | None = None,
    bad: BadLines | None = None,
) -> dict[str, list[int]]:
    """`input_ids` and `labels` of one conversation, both of its length in tokens.

    Raises DataError, beginning with `where`, and ModelError as `masked_ids` does.
    """
    ids, mask = masked_ids(tokenizer, shown, where, ends, bad)
    return _labelled(ids, mask)


def _labelled(ids: list[int], mask: list[bool]) -> dict[str, list[int]]:
    labels = [token if counts else IGNORED for token, counts in zip(ids, mask, strict=True)]
    return {"input_ids": ids, "labels": labels}


class _SftTrainer(RunTrainer, SFTTrainer):
    """TRL's trainer on conversations that are already tokens."""


def train_sft(settings: SftSettings, context: RunContext) -> dict[str, float]:
    """`bon-train sft`: train, write `settings.output`, return the figures of its model card."""
    claim(settings, context)
    tokenizer = training_tokenizer(settings.model, settings.revision, settings)
    require_start(settings, tokenizer)
    bad = BadLines(skip=settings.skip_bad)
    data = prepare_sft(settings, tokenizer, bad)
    bad.report(context.show)
    if context.dry_run:
        context.show(_example(tokenizer, data.rows[0]))
        counts = {"conversations": len(data.rows), "dropped as too long": data.dropped}
        shown = {**counts, **bad.figures()}
        context.show(", ".join(f"{name}: {count}" for name, count in shown.items()))
        return {}
    trainer = make_trainer(settings, tokenizer, data)
    result = run_trainer(trainer, settings, context)
    figures = {
        "training loss (mean over the run)": result.training_loss,
        "conversations": len(data.rows),
        "dropped as too long": data.dropped,
        **bad.figures(),
        "updates": result.global_step,
    }
    if is_main_process():
        save(trainer.model, tokenizer, settings.output)
        hashes = {settings.train.name: data_hash(settings.train)}
        title = "Policy, supervised fine-tuning"
        write_card(settings.output, title, context.command, hashes, settings, figures)
        write_report(settings.output, title, figures, parts=[memory_part(settings)])
    return figures


def make_trainer(
    settings: SftSettings, tokenizer: PreTrainedTokenizerBase, data: SftData
) -> _SftTrainer:
    """The trainer that `bon-train sft` runs."""
    policy = load_model(AutoModelForCausalLM, settings)
    if settings.padding_free:
        require_apart(policy, settings.model)
    return _SftTrainer(
        model=policy,
        args=SFTConfig(padding_free=settings.padding_free, **common_arguments(settings)),
        train_dataset=Dataset.from_list(data.rows),
        processing_class=tokenizer,
        peft_config=lora_config(settings.lora, "CAUSAL_LM"),
    )


def _example(tokenizer: PreTrainedTokenizerBase, row: dict[str, list[int]]) -> str:
    """The decoded conversation, and under it the part that is learnt."""
    learnt = [token for token in row["labels"] if token != IGNORED]
    return (
        f"text:   {tokenizer.decode(row['input_ids'])}\n"
        f"learnt: {tokenizer.decode(learnt)}\n"
        f"tokens: {len(row['input_ids'])}, learnt: {len(learnt)}"
    )
