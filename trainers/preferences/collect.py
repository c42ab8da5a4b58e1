"""`bon-train collect`: several answers to each prompt, to be compared.

Each prompt is one line, written when all its answers are there. A run that ends early, by Ctrl-C
or because its server is gone, loses the prompts in flight; the same command goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.base.context import RunContext
from trainers.base.data import Conversation, Message
from trainers.base.errors import DataError
from trainers.base.lines import BadLineError, read_rows
from trainers.base.messages import is_empty
from trainers.base.outputs import refuse_inputs, remove, require_place
from trainers.base.progress import Advance, progress
from trainers.base.template_inputs import read_inputs
from trainers.endpoint.chat import Sampling, ask, ask_for_candidates
from trainers.endpoint.http import FailureLimit, JsonClient, RequestFailedError
from trainers.endpoint.settings import ChatSettings
from trainers.endpoint.work import for_each, together
from trainers.preferences.files import (
    Append,
    journal,
    report_path,
    write_report,
)
from trainers.preferences.inputs import data_files
from trainers.preferences.prompts import PromptToSample, distinct_prompts, prompt_key
from trainers.preferences.records import ListedAnswer, Listwise
from trainers.preferences.settings import CollectSettings
from trainers.preferences.tally import Tally

PROMPTS = "prompts sampled"
ANSWERS = "answers"
CUT = "answers cut at max_tokens"
EMPTY = "empty answers"
EQUAL = "answers equal to an earlier one of their prompt"


class Collection:
    """Writes what a run draws, prompt by prompt, and counts it."""

    def __init__(self, settings: CollectSettings, append: Append, advance: Advance) -> None:
        self._settings = settings
        self._append = append
        self._advance = advance
        self.figures = dict.fromkeys((PROMPTS, ANSWERS, CUT, EMPTY, EQUAL), 0)

    def candidate(
        self, message: Message, finish_reason: str | None, seed: int, score: float | None = None
    ) -> ListedAnswer:
        """An answer with where it came from, and its reward if that is known."""
        source = {
            "policy": self._settings.source_name,
            "revision": self._settings.policy_revision,
            "temperature": self._settings.temperature,
            "seed": seed,
            "finish_reason": finish_reason,
        }
        known = {key: value for key, value in source.items() if value is not None}
        return ListedAnswer([message], score, known)

    def lost(self, counts: Mapping[str, int]) -> None:
        """Count candidates that a gateway drew and has no answer of."""
        for name, count in counts.items():
            self.figures[name] = self.figures.get(name, 0) + count

    def add(self, prompt: PromptToSample, candidates: Sequence[ListedAnswer]) -> None:
        """Write a prompt with all its answers."""
        line = Listwise(
            prompt.asked.messages,
            tuple(candidates),
            references=prompt.references,
            inputs=prompt.asked.inputs,
            metadata=prompt.asked.metadata,
        )
        self._append(line.as_json())
        self.figures[PROMPTS] += 1
        self.figures[ANSWERS] += len(candidates)
        for index, one in enumerate(candidates):
            self.figures[CUT] += one.source.get("finish_reason") == "length"
            self.figures[EMPTY] += is_empty(one.answer)
            self.figures[EQUAL] += any(one.answer == other.answer for other in candidates[:index])
        self._advance()


def run(settings: CollectSettings, context: RunContext) -> dict[str, float]:
    """`bon-train collect`. After Ctrl-C all that was drawn is on the disk."""
    tally = Tally(skip_bad=settings.skip_bad)
    settings = settings.model_copy(update={"prompts": data_files(settings.prompts, tally)})
    prompts = distinct_prompts(settings.prompts, tally, settings.reading)[: settings.limit]
    if context.dry_run:
        context.show(json.dumps(_shown(prompts[0].asked), indent=2, ensure_ascii=False))
        return {**tally.figures(), "prompts": len(prompts)}
    path = report_path(settings.output)
    require_place(settings.output.parent, settings.output)
    refuse_inputs([settings.output], settings.prompts)
    if context.overwrite:
        remove([settings.output, path])
    with journal(settings.output, context.show) as append:
        done = _done(settings)
        waiting = [one for one in prompts if one.key not in done]
        already = len(prompts) - len(waiting)
        give_up_after = 1 if settings.endpoint is None else settings.endpoint.give_up_after
        failures = FailureLimit(settings.source_name, give_up_after)
        with progress("prompts", len(prompts), already) as advance:
            collection = Collection(settings, append, advance)
            try:
                if settings.endpoint is None:
                    _in_process(settings, waiting, collection)
                else:
                    requests = _ask_all(settings, settings.endpoint, waiting, collection, failures)
                    asyncio.run(requests)
            finally:
                figures: dict[str, float] = {
                    **tally.figures(),
                    "prompts": len(prompts),
                    "prompts already there": already,
                    **collection.figures,
                    **failures.figures(),
                }
                inputs = {"prompts_files": settings.prompts}
                write_report(path, settings, tally, inputs, figures=figures)
    return figures


def _done(settings: CollectSettings) -> set[str]:
    """Keys of the prompts in the output; DataError for a line that `collect` did not write."""
    keys = set()
    for row in read_rows(settings.output):
        prompt = None if row.values is None else row.values.get("prompt")
        if row.values is None or not isinstance(prompt, list):
            raise DataError(f"{row.where}: {row.reason or 'prompt: missing'}")
        try:
            keys.add(prompt_key(prompt, read_inputs(row.values)))
        except BadLineError as error:
            raise DataError(f"{row.where}: {error}") from error
    return keys


def _shown(asked: Conversation) -> Any:
    """A prompt for the terminal: its messages alone where nothing stands beside them."""
    shown = asked.as_json()
    return shown if len(shown) > 1 else asked.messages


async def _ask_all(
    settings: CollectSettings,
    endpoint: ChatSettings,
    prompts: Sequence[PromptToSample],
    collection: Collection,
    failures: FailureLimit,
) -> None:
    async with JsonClient(endpoint) as client:

        async def answer(one: PromptToSample, index: int) -> ListedAnswer:
            seed = seed_of(settings.seed, one.key, index)
            reply = await ask(
                client,
                endpoint,
                one.asked,
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                seed=seed,
                top_p=settings.top_p,
            )
            return collection.candidate(reply.message, reply.finish_reason, seed)

        async def candidates(one: PromptToSample) -> list[ListedAnswer]:
            seed = seed_of(settings.seed, one.key, 0)
            sampling = Sampling(settings.temperature, settings.max_tokens, seed, settings.top_p)
            found = await ask_for_candidates(
                client, endpoint, one.asked, sampling, settings.samples
            )
            collection.lost(found.lost)
            return [
                collection.candidate(each.message, each.finish_reason, seed, each.reward)
                for each in found.answers
            ]

        async def sample(one: PromptToSample) -> None:
            try:
                if settings.best_of_n:
                    drawn = await candidates(one)
                else:
                    drawn = await together(answer(one, i) for i in range(settings.samples))
            except RequestFailedError as error:
                failures.failed(str(error))
                return
            failures.succeeded()
            collection.add(one, drawn)

        # One prompt more than fits, so that no place is empty while a last answer is drawn.
        requests = 1 if settings.best_of_n else settings.samples
        await for_each(prompts, sample, endpoint.concurrency // requests + 1)


def _in_process(
    settings: CollectSettings, prompts: Sequence[PromptToSample], collection: Collection
) -> None:
    from trainers.base.tokenizer import training_tokenizer
    from trainers.policy.drawing import PolicySampler
    from trainers.policy.drawn_calls import DrawnCalls
    from trainers.policy.rendering import prompt_ids

    assert settings.policy is not None
    if not prompts:
        return
    sampler = PolicySampler(
        settings.policy,
        device=settings.device,
        tokenizer=training_tokenizer(str(settings.policy), None, settings),
        thinking=settings.thinking,
    )
    # An error of the template, or of a length, comes before hours of drawing.
    calls = DrawnCalls(sampler.tokenizer)
    for one in prompts:
        calls.require(one.asked, one.where)
    asked = [prompt_ids(sampler.tokenizer, one.asked, one.where) for one in prompts]
    sampler.require_room(asked, "max_tokens", settings.max_tokens)
    size = max(1, settings.batch_size // settings.samples)
    for start in range(0, len(prompts), size):
        block = prompts[start : start + size]
        seed = seed_of(settings.seed, block[0].key, 0)
        drawn = sampler.draw(
            [one.asked for one in block],
            settings.samples,
            seed=seed,
            max_new_tokens=settings.max_tokens,
            batch_size=settings.batch_size,
            temperature=settings.temperature,
            top_p=settings.top_p,
        )
        for one, answers in zip(block, drawn, strict=True):
            candidates = [
                collection.candidate(
                    answer.message,
                    "stop" if answer.ended else "length",
                    seed,
                )
                for answer in answers
            ]
            collection.add(one, candidates)


def seed_of(seed: int, key: str, index: int) -> int:
    """The seed of one answer, independent of what was drawn before it."""
    digest = hashlib.sha256(f"{seed}\n{key}\n{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1  # servers take 31 bits
