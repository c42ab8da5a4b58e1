"""`bon-train dpo`: from pairs to a tuned policy."""

from typing import Any

from accelerate import PartialState
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from trl.trainer.dpo_config import DPOConfig

from trainers.base.bad_lines import BadLines
from trainers.base.card import append_text, write_card
from trainers.base.context import RunContext
from trainers.base.data import Conversation, data_hash
from trainers.base.errors import ModelError
from trainers.base.fit import require_answers, require_start
from trainers.base.loading import find_device, load_model
from trainers.base.report import write_report
from trainers.base.tokenizer import training_tokenizer
from trainers.dpo.data import PreferenceData, read_pairs
from trainers.dpo.reference import (
    ReferenceLogps,
    cache_key,
    read_cache,
    reference_logps,
    write_cache,
)
from trainers.dpo.settings import DpoSettings
from trainers.dpo.sft_first import fine_tune_first
from trainers.dpo.trainer import TokenisedDPOTrainer, loss_arguments, make_dataset
from trainers.policy.divergence import checked_prompts, measure_divergence
from trainers.policy.ends import declared_ends
from trainers.policy.frozen import load_frozen
from trainers.policy.rendering import prompt_ids
from trainers.policy.samples import before_and_after
from trainers.runtime.arguments import autocast, common_arguments, is_main_process
from trainers.runtime.lora import lora_config
from trainers.runtime.memory import memory_part
from trainers.runtime.run import claim, run_trainer
from trainers.runtime.saving import save

NEGATIVE_REWARD_NOTE = (
    "`rewards/chosen` in `metrics.jsonl` is beta x (log p_policy - log p_reference) of the "
    "preferred answers. That it goes negative is usual: the loss asks only that the preferred "
    "answer loses less probability than the other, and what both lose goes to answers that are "
    "in no pair. Look at `rewards/margins`, and at what is measured on drawn answers, instead."
)
"""Shown before training and kept in the model card."""


def train_dpo(settings: DpoSettings, context: RunContext) -> dict[str, float]:
    """`bon-train dpo`: train, write `settings.output`, return the figures of its model card."""
    claim(settings, context)
    tokenizer = training_tokenizer(settings.model, settings.revision, settings)
    limit = require_start(settings, tokenizer)
    bad = BadLines(skip=settings.skip_bad)
    data = read_pairs(
        settings.train,
        tokenizer,
        settings.model,
        settings.max_length,
        ends=declared_ends(tokenizer, settings.model, settings.revision),
        bad=bad,
    )
    _require_same_text(tokenizer, settings)
    prompts = checked_prompts(settings.eval_prompts, tokenizer, bad)
    bad.report(context.show)
    asked = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    require_answers(limit, asked, "eval_max_new_tokens", settings.eval_max_new_tokens)
    if context.dry_run:
        context.show(_example(tokenizer, data.rows[0]))
    counts = {"pairs": len(data.rows), **data.dropped, **bad.figures()}
    context.show(", ".join(f"{name}: {count}" for name, count in counts.items()))
    if context.dry_run:
        return {}
    context.show(NEGATIVE_REWARD_NOTE)
    stage = fine_tune_first(settings, context)
    policy = load_model(AutoModelForCausalLM, stage)
    if stage.reference_logps == "precompute":
        policy = policy.to(find_device("auto"))  # where the trainer will have it
    reference = policy if stage.reference is None else _frozen_reference(stage)
    logps, reused = _known_logps(settings, tokenizer, reference, data)
    trainer = dpo_trainer(stage, policy, make_dataset(data.rows, logps), tokenizer)
    result = run_trainer(trainer, settings, context)
    figures: dict[str, float] = {
        "training loss (mean over the run)": result.training_loss,
        **counts,
        "updates": result.global_step,
        "reference log-probabilities reused": int(reused),
    }
    if is_main_process():
        save(trainer.model, tokenizer, settings.output)
        figures |= _measured(stage, prompts)
        hashes = {settings.train.name: data_hash(settings.train)}
        title = "Policy, direct preference optimisation"
        write_card(settings.output, title, context.command, hashes, settings, figures)
        append_text(settings.output, f"\n{NEGATIVE_REWARD_NOTE}\n")
        samples = before_and_after(
            settings.model, settings.revision, settings.output, prompts,
            seed=settings.seed, max_new_tokens=settings.eval_max_new_tokens,
        )  # fmt: skip
        parts = [memory_part(settings)]
        write_report(settings.output, title, figures, parts=parts, samples=samples)
    return figures


def dpo_trainer(
    settings: DpoSettings, policy: Any, rows: Dataset, tokenizer: PreTrainedTokenizerBase
) -> TokenisedDPOTrainer:
    """TRL's trainer; with a frozen reference beside the policy where neither known
    log-probabilities nor switched-off adapters stand for it."""
    beside = settings.reference_logps == "live" and settings.lora is None
    return TokenisedDPOTrainer(
        model=policy,
        ref_model=_frozen_reference(settings) if beside else None,
        args=DPOConfig(**common_arguments(settings), **loss_arguments(settings)),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=lora_config(settings.lora, "CAUSAL_LM"),
    )


def _frozen_reference(settings: DpoSettings) -> Any:
    """The reference as a model of its own."""
    if settings.reference is None:
        return load_frozen(settings.model, settings.revision)
    return load_frozen(settings.reference, settings.reference_revision, device="auto")


def _require_same_text(tokenizer: PreTrainedTokenizerBase, settings: DpoSettings) -> None:
    """Raise ModelError unless policy and reference turn a conversation into the same ids.

    Log-probabilities of different tokens cannot be compared.
    """
    if settings.reference is None:
        return
    other = training_tokenizer(settings.reference, settings.reference_revision, settings)
    for name, same in (
        ("chat template", other.chat_template == tokenizer.chat_template),
        ("vocabulary", other.get_vocab() == tokenizer.get_vocab()),
    ):
        if not same:
            raise ModelError(
                f"{settings.reference}: the reference's {name} is not that of {settings.model}"
            )


def _known_logps(
    settings: DpoSettings,
    tokenizer: PreTrainedTokenizerBase,
    reference: Any,
    data: PreferenceData,
) -> tuple[ReferenceLogps | None, bool]:
    """The reference's side of the loss, and whether it was read from the cache.

    None where each step computes it.
    """
    if settings.reference_logps == "live":
        return None, False
    folder = settings.reference_cache or settings.output / "reference-logps"
    key = cache_key(settings.train, reference, tokenizer, settings.max_length, settings.dtype)
    # Of several processes the first computes, the others read what it wrote.
    with PartialState().main_process_first():
        found = read_cache(folder, key, len(data.rows))
        if found is not None:
            return found, True
        # In the policy's type: what rounding does to both then cancels at the start.
        with autocast(settings.dtype, reference.device):
            computed = reference_logps(reference, data.rows, settings.batch_size)
        write_cache(folder, key, computed)
    return computed, False


def _measured(settings: DpoSettings, prompts: list[Conversation]) -> dict[str, float]:
    """KL, length and end-of-turn rate on `prompts`; nothing without them."""
    if not prompts:
        return {}
    own = settings.reference is None
    divergence, _ = measure_divergence(
        settings.output,
        settings.reference or settings.model,
        prompts,
        revision=settings.revision if own else settings.reference_revision,
        seed=settings.seed,
        max_new_tokens=settings.eval_max_new_tokens,
        batch_size=settings.eval_batch_size,
    )
    return divergence.table()


def _example(tokenizer: PreTrainedTokenizerBase, row: dict[str, Any]) -> str:
    """The decoded prompt, and of each side the part whose probability is learnt."""
    lines = [f"prompt:   {tokenizer.decode(row['prompt_ids'])}"]
    for side in ("chosen", "rejected"):
        ids = row[f"{side}_ids"]
        total = len(row["prompt_ids"]) + len(ids)
        lines.append(f"{side + ':':9} {tokenizer.decode(ids)}")
        lines.append(f"  tokens: {total}, learnt: {len(ids)}")
    return "\n".join(lines)
