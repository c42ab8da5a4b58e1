"""Supervised fine-tuning: teach a policy to write the assistant's turns of a conversation."""

from dataclasses import dataclass

from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from trainers.base.card import write_card
from trainers.base.context import RunContext
from trainers.base.data import Demonstration, Message, data_hash, read_placed
from trainers.base.errors import DataError
from trainers.base.loading import load_model, load_tokenizer
from trainers.policy.assistant_mask import masked_ids
from trainers.runtime.arguments import common_arguments, is_main_process
from trainers.runtime.lora import lora_config
from trainers.runtime.run import run_trainer
from trainers.runtime.saving import save
from trainers.runtime.trainer import RunTrainer
from trainers.sft.settings import SftSettings

IGNORED = -100
"""The label of a token that the loss does not count."""


@dataclass(frozen=True)
class SftData:
    """Tokenised conversations; `labels` repeats `input_ids` where the assistant wrote."""

    rows: list[dict[str, list[int]]]
    dropped: int
    """Conversations longer than the limit."""


def prepare_sft(settings: SftSettings, tokenizer: PreTrainedTokenizerBase) -> SftData:
    """Read and tokenise the training file.

    Raises DataError for a bad line, and if no conversation is short enough; ModelError as
    `tokenise` does.
    """
    placed = read_placed(Demonstration, settings.train)
    rows = [tokenise(tokenizer, record.messages, where) for where, record in placed]
    kept = [row for row in rows if len(row["input_ids"]) <= settings.max_length]
    if not kept:
        raise DataError(f"{settings.train}: every record exceeds max_length {settings.max_length}")
    return SftData(kept, len(rows) - len(kept))


def tokenise(
    tokenizer: PreTrainedTokenizerBase, messages: list[Message], where: str
) -> dict[str, list[int]]:
    """`input_ids` and `labels` of one conversation, both of its length in tokens.

    Raises DataError, beginning with `where`, and ModelError as `masked_ids` does.
    """
    ids, mask = masked_ids(tokenizer, messages, where)
    labels = [token if counts else IGNORED for token, counts in zip(ids, mask, strict=True)]
    return {"input_ids": ids, "labels": labels}


class _SftTrainer(RunTrainer, SFTTrainer):
    """TRL's trainer on conversations that are already tokens."""


def train_sft(settings: SftSettings, context: RunContext) -> dict[str, float]:
    """`bon-train sft`: train, write `settings.output`, return the figures of its model card."""
    tokenizer = load_tokenizer(settings.model, settings.revision)
    data = prepare_sft(settings, tokenizer)
    if context.dry_run:
        context.show(_example(tokenizer, data.rows[0]))
        context.show(f"conversations: {len(data.rows)}, dropped as too long: {data.dropped}")
        return {}
    trainer = _SftTrainer(
        model=load_model(AutoModelForCausalLM, settings),
        args=SFTConfig(**common_arguments(settings)),
        train_dataset=Dataset.from_list(data.rows),
        processing_class=tokenizer,
        peft_config=lora_config(settings.lora, "CAUSAL_LM"),
    )
    result = run_trainer(trainer, settings, context)
    figures = {
        "training loss (mean over the run)": result.training_loss,
        "conversations": len(data.rows),
        "dropped as too long": data.dropped,
        "updates": result.global_step,
    }
    if is_main_process():
        save(trainer.model, tokenizer, settings.output)
        hashes = {settings.train.name: data_hash(settings.train)}
        title = "Policy, supervised fine-tuning"
        write_card(settings.output, title, context.command, hashes, settings, figures)
    return figures


def _example(tokenizer: PreTrainedTokenizerBase, row: dict[str, list[int]]) -> str:
    """The decoded conversation, and under it the part that is learnt."""
    learnt = [token for token in row["labels"] if token != IGNORED]
    return (
        f"text:   {tokenizer.decode(row['input_ids'])}\n"
        f"learnt: {tokenizer.decode(learnt)}\n"
        f"tokens: {len(row['input_ids'])}, learnt: {len(learnt)}"
    )
