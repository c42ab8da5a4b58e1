"""`bon-train iterate`: rounds of sampling from the current policy, labelling and DPO."""

from typing import Any

from trainers.base.bad_lines import BadLines
from trainers.base.context import RunContext
from trainers.base.data import Conversation, data_hash
from trainers.base.files import read_json, write_json
from trainers.base.fit import require_answers, require_start
from trainers.base.outputs import claim_folder
from trainers.base.report import HISTORY, PAGE, PICTURES
from trainers.base.tokenizer import training_tokenizer
from trainers.iterate.page import write_page
from trainers.iterate.round import Round
from trainers.iterate.settings import IterateSettings
from trainers.policy.divergence import checked_prompts
from trainers.policy.rendering import prompt_ids
from trainers.runtime.checkpoints import require_equal


def run(settings: IterateSettings, context: RunContext) -> dict[str, float]:
    """`bon-train iterate`. Returns the figures of the last round, and the rewards of all."""
    tokenizer = training_tokenizer(settings.model, settings.revision, settings)
    bad = BadLines(skip=settings.skip_bad)
    here = settings.endpoint is None
    prompts = checked_prompts(settings.prompts, tokenizer, bad, judged=here)
    held_out = checked_prompts(settings.eval_prompts, tokenizer, bad, judged=True)
    bad.report(context.show)
    tuning = Round(settings, 0, settings.model, context).tuning(settings.model)
    limit = require_start(tuning, tokenizer, key="dpo.max_length")
    asked = [prompt_ids(tokenizer, prompt) for prompt in [*prompts, *held_out]]
    require_answers(limit, asked, "max_new_tokens", settings.max_new_tokens)
    if context.dry_run:
        _show_answers(Round(settings, 0, settings.model, context), prompts)
        return {}
    _begin(settings, context)
    start, records = settings.model, []
    for number in range(settings.rounds):
        current = Round(settings, number, start, context)
        records.append(current.record(prompts))
        write_json(settings.output / "rounds.json", records)
        start = str(current.policy)
        context.show(_line(records[-1]))
    context.show(f"the last policy is {start}")
    figures = {**_figures(records), **bad.figures()}
    write_page(settings.output, records, figures)
    return figures


def _begin(settings: IterateSettings, context: RunContext) -> None:
    """Refuse an output that holds another run, and note the settings of this one.

    --overwrite removes what that run wrote.

    Raises RunError for an earlier run without --resume, SettingsError for one of other settings.
    """
    path = settings.output / "settings.json"
    now = settings.deciding() | {"prompts": data_hash(settings.prompts)}
    made = ("settings.json", "rounds.json", "rounds")
    written = (*made, PAGE, PICTURES, HISTORY)
    claim_folder(settings.output, context, inputs=[settings.model], made=written, state=made)
    if path.exists():
        require_equal(read_json(path), now, settings.output)
    write_json(path, now)


def _show_answers(first: Round, prompts: list[Conversation]) -> None:
    """Sample and score the first prompt, and show it; nothing is written."""
    context, settings = first.context, first.settings
    prompt = first.choose(prompts)[0]
    [answers] = first.sampler().sample([prompt], settings.seed)
    messages = [answer.message for answer in answers]
    rewards = first.scorer().score_answers([prompt] * len(messages), messages)
    context.show(f"prompt: {prompt.messages[-1]['content']}")
    for answer, reward in sorted(zip(answers, rewards, strict=True), key=lambda pair: -pair[1]):
        context.show(f"{reward:8.3f}  {answer.text}{'' if answer.ended else '  (cut)'}")
    context.show(f"prompts: {len(prompts)}, rounds: {settings.rounds}")


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
