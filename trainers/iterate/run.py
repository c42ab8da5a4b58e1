"""`bon-train iterate`: rounds of sampling from the current policy, labelling and DPO."""

from typing import Any

from trainers.base.context import RunContext
from trainers.base.data import Message, Prompt, data_hash, read_records
from trainers.base.errors import DataError, RunError
from trainers.base.files import read_json, write_json
from trainers.base.loading import load_tokenizer
from trainers.iterate.files import RoundFolder, round_folder
from trainers.iterate.record import round_record
from trainers.iterate.round import (
    choose_prompts,
    make_pairs,
    make_sampler,
    sample_and_score,
    tune,
)
from trainers.iterate.settings import IterateSettings
from trainers.policy.divergence import measure, read_prompts
from trainers.rewards.scorer import RewardScorer
from trainers.runtime.checkpoints import require_equal

FREE = {"output", "rounds", "prompts", "endpoint"}
"""Settings that a resumed run may change: more rounds, another address. Prompts are known by their
hash."""


def run(settings: IterateSettings, context: RunContext) -> dict[str, float]:
    """`bon-train iterate`. Returns the figures of the last round, and the rewards of all."""
    tokenizer = load_tokenizer(settings.model, settings.revision)
    prompts = read_prompts(settings.prompts, tokenizer)
    read_prompts(settings.eval_prompts, tokenizer)
    if context.dry_run:
        return _dry_run(settings, context, prompts)
    begin(settings, context)
    start, records = settings.model, []
    for number in range(settings.rounds):
        files = round_folder(settings.output, number)
        if not files.record.exists():
            write_json(files.record, _round(settings, number, files, start, prompts, context))
        records.append(read_json(files.record))
        write_json(settings.output / "rounds.json", records)
        start = str(files.policy)
        context.show(_line(records[-1]))
    context.show(f"the last policy is {start}")
    return _figures(records)


def begin(settings: IterateSettings, context: RunContext) -> None:
    """Refuse an output that holds another run, and note the settings of this one.

    Raises RunError for an earlier run without --resume, SettingsError for one of other settings.
    """
    path = settings.output / "settings.json"
    now = settings.model_dump(mode="json", exclude=FREE)
    now |= {"prompts": data_hash(settings.prompts)}
    if path.exists():
        if not context.resume:
            raise RunError(f"{path}: left by an earlier run; --resume goes on from it")
        require_equal(read_json(path), now, settings.output)
    write_json(path, now)


def _round(
    settings: IterateSettings,
    number: int,
    files: RoundFolder,
    start: str,
    prompts: list[list[Message]],
    context: RunContext,
) -> dict[str, Any]:
    chosen = choose_prompts(settings, number, prompts)
    scored = sample_and_score(settings, number, files, chosen, start, context)
    labelled = make_pairs(settings, number, files, scored)
    if not labelled.pairs:
        raise DataError(f"{files.answers}: round {number} gave no pair to learn from")
    reference = start if settings.reference == "previous" else settings.model
    figures = tune(settings, number, files, start, reference, context)
    return round_record(
        settings,
        number,
        files,
        start=start,
        reference=reference,
        sampled_from=scored.sampled_from,
        labelled=labelled,
        prompts=len(chosen),
        figures=figures,
        measured=_measured(settings, files),
    )


def _measured(settings: IterateSettings, files: RoundFolder) -> dict[str, float]:
    """Reward and distance from the start of all rounds, on `eval_prompts`."""
    if settings.eval_prompts is None:
        return {}
    prompts = [record.prompt for record in read_records(Prompt, settings.eval_prompts)]
    divergence, texts = measure(
        files.policy,
        settings.model,
        prompts,
        revision=settings.revision,
        seed=settings.seed,
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.sample_batch_size,
    )
    rewards = _scorer(settings).score_answers(prompts, texts)
    return {**divergence.table(), "reward": sum(rewards) / len(rewards)}


def _scorer(settings: IterateSettings) -> RewardScorer:
    return RewardScorer.load(settings.reward, batch_size=settings.sample_batch_size)


def _dry_run(
    settings: IterateSettings, context: RunContext, prompts: list[list[Message]]
) -> dict[str, float]:
    """Sample and score the first prompt, and show it; nothing is written."""
    [prompt] = choose_prompts(settings, 0, prompts)[:1]
    sampler = make_sampler(settings, 0, settings.model, settings.revision)
    [answers] = sampler.sample([prompt], settings.seed)
    texts = [answer.text for answer in answers]
    rewards = _scorer(settings).score_answers([prompt] * len(texts), texts)
    context.show(f"prompt: {prompt[-1]['content']}")
    for answer, reward in sorted(zip(answers, rewards, strict=True), key=lambda pair: -pair[1]):
        context.show(f"{reward:8.3f}  {answer.text}{'' if answer.ended else '  (cut)'}")
    context.show(f"prompts: {len(prompts)}, rounds: {settings.rounds}")
    return {}


def _line(record: dict[str, Any]) -> str:
    after = record["after"]
    reward = f", reward {after['reward']:.3f} after it" if after else ""
    return (
        f"round {record['round']}: {record['pairs']} pairs, reward of an answer "
        f"{record['reward of an answer']:.3f}{reward}"
    )


def _figures(records: list[dict[str, Any]]) -> dict[str, float]:
    rewards = {
        f"reward of an answer sampled in round {record['round']}": record["reward of an answer"]
        for record in records
    }
    after = {f"after the last round: {k}": v for k, v in records[-1]["after"].items()}
    return {**rewards, **after}
