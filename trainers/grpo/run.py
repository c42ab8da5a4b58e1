"""`bon-train grpo`: a policy against a reward model, answers compared within their group."""

from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from trainers.base.bad_lines import BadLines
from trainers.base.card import write_card
from trainers.base.context import RunContext
from trainers.base.data import Conversation, PromptRecord, data_hash, read_placed
from trainers.base.errors import DataError
from trainers.base.fit import require_answers, require_start
from trainers.base.loading import load_model
from trainers.base.report import write_report
from trainers.base.special_tokens import SPECIAL, with_special_tokens
from trainers.base.tokenizer import training_tokenizer
from trainers.grpo.rewards import RewardFunction
from trainers.grpo.settings import GrpoSettings
from trainers.grpo.trainer import GroupTrainer, grpo_config
from trainers.policy.divergence import checked_prompts, measure_divergence
from trainers.policy.drawn_calls import DrawnCalls
from trainers.policy.ends import end_tokens
from trainers.policy.rendering import prompt_ids
from trainers.policy.samples import before_and_after
from trainers.rewards.answers import AnswerScorer
from trainers.rewards.opening import open_scorer
from trainers.runtime.arguments import common_arguments, is_main_process
from trainers.runtime.lora import lora_config
from trainers.runtime.memory import memory_part
from trainers.runtime.run import claim, run_trainer
from trainers.runtime.saving import save


def train_grpo(settings: GrpoSettings, context: RunContext) -> dict[str, float]:
    """`bon-train grpo`: train, write `settings.output`, return the figures of its model card."""
    claim(settings, context)
    tokenizer = training_tokenizer(settings.model, settings.revision, settings)
    limit = require_start(settings, tokenizer)
    bad = BadLines(skip=settings.skip_bad)
    prompts, too_long = _short_prompts(settings, tokenizer, bad)
    held_out = checked_prompts(settings.eval_prompts, tokenizer, bad, judged=True)
    bad.report(context.show)
    asked = [prompt_ids(tokenizer, prompt) for prompt in held_out]
    require_answers(limit, asked, "max_new_tokens", settings.max_new_tokens)
    context.show(f"prompts: {len(prompts)}, dropped as too long: {too_long}")
    scorer = open_scorer(settings.reward, batch_size=settings.score_batch_size)
    if context.dry_run:
        # The prompt as the policy reads it, and what the reward model thinks of saying nothing.
        nothing = scorer.score_answers(prompts[:1], [""])[0]
        context.show(f"prompt: {tokenizer.decode(prompt_ids(tokenizer, prompts[0]))}")
        context.show(f"reward of an empty answer: {nothing:.3f}")
        return {}
    _require_an_update(settings, len(prompts))
    policy = load_model(AutoModelForCausalLM, settings)
    # Batches of prompts end at the same column only when they are padded on the left.
    tokenizer.padding_side = "left"
    reward = RewardFunction(
        scorer,
        prompts,
        ends=end_tokens(policy, tokenizer),
        no_eos_reward=settings.no_eos_reward,
        thinking=settings.thinking,
    )
    trainer = GroupTrainer(
        model=policy,
        reward_funcs=[reward],
        args=grpo_config(settings, common_arguments(settings)),
        prompt_ids=[prompt_ids(tokenizer, prompt) for prompt in prompts],
        processing_class=tokenizer,
        peft_config=lora_config(settings.lora, "CAUSAL_LM"),
    )
    trainer.updates_per_batch = settings.updates_per_batch  # checkpoints keep no answers
    result = run_trainer(trainer, settings, context)
    figures: dict[str, float] = {
        "prompts": len(prompts),
        "prompts dropped as too long": too_long,
        **bad.figures(),
        "updates": result.global_step,
        **_rewards(trainer.state.log_history),
    }
    if is_main_process():
        tokenizer.padding_side = "right"
        save(trainer.model, tokenizer, settings.output)
        figures |= _measured(settings, held_out, scorer)
        hashes = {settings.train.name: data_hash(settings.train)}
        title = "Policy, group relative policy optimisation"
        write_card(settings.output, title, context.command, hashes, settings, figures)
        samples = before_and_after(
            settings.model, settings.revision, settings.output, held_out,
            seed=settings.seed, max_new_tokens=settings.max_new_tokens,
        )  # fmt: skip
        parts = [memory_part(settings)]
        write_report(settings.output, title, figures, parts=parts, samples=samples)
    return figures


def _short_prompts(
    settings: GrpoSettings, tokenizer: PreTrainedTokenizerBase, bad: BadLines
) -> tuple[list[Conversation], int]:
    """The prompts behind which an answer of full length fits, in the order of the file, and the
    number of others. Raises DataError if there is none."""
    room = settings.max_length - settings.max_new_tokens
    rows, too_long, calls = [], 0, DrawnCalls(tokenizer)
    placed = read_placed(PromptRecord, settings.train, bad)
    bad.note(SPECIAL, with_special_tokens(tokenizer, placed))
    for where, record in placed:
        with bad.tried():
            calls.require(record.asked, where)
            if len(prompt_ids(tokenizer, record.asked, where)) <= room:
                rows.append(record.asked)
            else:
                too_long += 1
    if not rows:
        raise DataError(
            f"{settings.train}: every prompt exceeds max_length - max_new_tokens, {room}"
            if not bad.count
            else f"{settings.train}: no prompt is left: {too_long} exceed max_length - "
            f"max_new_tokens, {room}, and {bad.count} bad lines were skipped"
        )
    return rows, too_long


def _require_an_update(settings: GrpoSettings, prompts: int) -> None:
    """Raise DataError if there are too few prompts: TRL draws whole updates only."""
    needed = settings.batch_size // settings.group_size
    if prompts < needed:
        raise DataError(
            f"{settings.train}: an update needs {needed} prompts (batch_size / group_size), and "
            f"there are {prompts}; lower batch_size"
        )


def _rewards(history: list[dict[str, float]]) -> dict[str, float]:
    """The reward of the first and of the last answers that training drew."""
    rewards = [entry["reward"] for entry in history if "reward" in entry]
    if not rewards:
        return {}
    return {"mean reward, first log": rewards[0], "mean reward, last log": rewards[-1]}


def _measured(
    settings: GrpoSettings, prompts: list[Conversation], scorer: AnswerScorer
) -> dict[str, float]:
    """Reward, KL, length and end-of-turn rate on `prompts`; nothing without them."""
    if not prompts:
        return {}
    divergence, texts = measure_divergence(
        settings.output,
        settings.model,
        prompts,
        revision=settings.revision,
        seed=settings.seed,
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.score_batch_size,
        thinking=settings.thinking,
    )
    rewards = scorer.score_answers(prompts, texts)
    return {**divergence.table(), "reward on held-out prompts": sum(rewards) / len(rewards)}
