"""`bon-train collect`: several answers to each prompt, to be compared.

Each prompt is one line, written when all its answers are there. A run that ends early, by Ctrl-C
or by a server that is gone, has lost the prompts in flight; the same command goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Sequence

from trainers.base.context import INTERRUPTED, RunContext
from trainers.base.data import Message, data_hash
from trainers.base.files import write_json
from trainers.base.lines import read_rows
from trainers.base.messages import is_empty
from trainers.base.progress import Advance, progress
from trainers.endpoint.chat import ask
from trainers.endpoint.http import Failures, JsonClient, RequestFailedError
from trainers.endpoint.settings import ChatSettings
from trainers.endpoint.work import for_each, together
from trainers.preferences.collect_settings import CollectSettings
from trainers.preferences.files import (
    Journal,
    refuse_overwriting,
    report_path,
)
from trainers.preferences.prompts import Ask, prompt_key, read_prompts
from trainers.preferences.records import Candidate, Listwise
from trainers.preferences.tally import Tally


class Collection:
    """What a run has drawn so far."""

    def __init__(self, settings: CollectSettings, journal: Journal, advance: Advance) -> None:
        self._settings = settings
        self._journal = journal
        self._advance = advance
        self.prompts = 0
        self.samples = 0
        self.cut = 0
        """Answers that reached the token limit."""
        self.empty = 0
        self.equal = 0
        """Answers that equal an earlier one of their prompt."""

    def candidate(self, message: Message, finish_reason: str | None, seed: int) -> Candidate:
        """An answer with where it came from."""
        source = {
            "policy": self._settings.source_name,
            "revision": self._settings.policy_revision,
            "temperature": self._settings.temperature,
            "seed": seed,
            "finish_reason": finish_reason,
        }
        return Candidate([message], source={k: v for k, v in source.items() if v is not None})

    def add(self, prompt: Ask, candidates: Sequence[Candidate]) -> None:
        """Write a prompt with all its answers."""
        line = Listwise(prompt.messages, tuple(candidates), references=prompt.references)
        self._journal.append(line.as_json())
        self.prompts += 1
        self.samples += len(candidates)
        for index, one in enumerate(candidates):
            self.cut += one.source.get("finish_reason") == "length"
            self.empty += is_empty(one.answer)
            self.equal += any(one.answer == other.answer for other in candidates[:index])
        self._advance()

    def figures(self) -> dict[str, int]:
        return {
            "prompts sampled": self.prompts,
            "answers": self.samples,
            "answers cut at max_tokens": self.cut,
            "empty answers": self.empty,
            "answers equal to an earlier one of their prompt": self.equal,
        }


def run(settings: CollectSettings, context: RunContext) -> dict[str, float]:
    """`bon-train collect`. Exits with 130 after Ctrl-C, with all that was drawn on the disk."""
    tally = Tally(skip_bad=settings.skip_bad)
    asks = read_prompts(settings.prompts, tally)[: settings.limit]
    if context.dry_run:
        context.show(json.dumps(asks[0].messages, indent=2, ensure_ascii=False))
        return {**tally.figures(), "prompts": len(asks)}
    refuse_overwriting(settings.prompts, [settings.output])
    with Journal(settings.output) as journal:
        if journal.cut:
            context.show(f"{settings.output}: a torn last line was cut off")
        done = _done(settings)
        waiting = [one for one in asks if one.key not in done]
        failures = Failures(settings.source_name, _give_up_after(settings))
        with progress("prompts", len(asks), len(asks) - len(waiting)) as advance:
            collection = Collection(settings, journal, advance)

            def figures() -> dict[str, float]:
                here = {"prompts": len(asks), "prompts already there": len(asks) - len(waiting)}
                failed = {f"failed: {why}": n for why, n in failures.reasons.items()}
                return {**tally.figures(), **here, **collection.figures(), **failed}

            try:
                if settings.endpoint is None:
                    _in_process(settings, waiting, collection)
                else:
                    requests = _ask_all(settings, settings.endpoint, waiting, collection, failures)
                    asyncio.run(requests)
            except KeyboardInterrupt:
                context.show(f"stopped; {settings.output} is whole, the same command goes on")
                raise SystemExit(INTERRUPTED) from None
            finally:
                _write_report(settings, tally, figures())
    return figures()


def _done(settings: CollectSettings) -> set[str]:
    """Keys of the prompts in the output; DataError for a line that is not one of ours."""
    tally, keys = Tally(), set()
    for row in read_rows(settings.output):
        prompt = None if row.values is None else row.values.get("prompt")
        if not isinstance(prompt, list):
            tally.bad_line(row.where, row.reason or "prompt: missing")
        keys.add(prompt_key(prompt or []))
    return keys


def _give_up_after(settings: CollectSettings) -> int:
    return 1 if settings.endpoint is None else settings.endpoint.give_up_after


async def _ask_all(
    settings: CollectSettings,
    endpoint: ChatSettings,
    asks: Sequence[Ask],
    collection: Collection,
    failures: Failures,
) -> None:
    async with JsonClient(endpoint) as client:

        async def answer(one: Ask, index: int) -> Candidate:
            seed = seed_of(settings.seed, one.key, index)
            reply = await ask(
                client,
                endpoint,
                one.messages,
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                seed=seed,
                top_p=settings.top_p,
            )
            return collection.candidate(reply.message, reply.finish_reason, seed)

        async def sample(one: Ask) -> None:
            try:
                drawn = await together(answer(one, i) for i in range(settings.samples))
            except RequestFailedError as error:
                failures.failed(str(error))
                return
            failures.succeeded()
            collection.add(one, drawn)

        # One prompt more than fit, so that no place is empty while a prompt's last answer comes.
        await for_each(asks, sample, endpoint.concurrency // settings.samples + 1)


def _in_process(settings: CollectSettings, asks: Sequence[Ask], collection: Collection) -> None:
    from trainers.policy.drawing import PolicySampler
    from trainers.policy.rendering import prompt_ids

    assert settings.policy is not None
    if not asks:
        return
    sampler = PolicySampler(settings.policy, device=settings.device)
    for one in asks:  # before hours of drawing: what the template refuses is named
        prompt_ids(sampler.tokenizer, one.messages, one.where)
    for block in _blocks(asks, max(1, settings.batch_size // settings.samples)):
        seed = seed_of(settings.seed, block[0].key, 0)
        drawn = sampler.draw(
            [one.messages for one in block],
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
                    Message(role="assistant", content=answer.text),
                    "stop" if answer.ended else "length",
                    seed,
                )
                for answer in answers
            ]
            collection.add(one, candidates)


def _blocks(asks: Sequence[Ask], size: int) -> Iterator[Sequence[Ask]]:
    return (asks[start : start + size] for start in range(0, len(asks), size))


def seed_of(seed: int, key: str, index: int) -> int:
    """The seed of one answer: the same whatever was sampled before it, other for each answer."""
    digest = hashlib.sha256(f"{seed}\n{key}\n{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1  # servers take 31 bits


def _write_report(settings: CollectSettings, tally: Tally, figures: dict[str, float]) -> None:
    report = {
        "prompts_files": {path.name: data_hash(path) for path in settings.prompts},
        "settings": settings.model_dump(mode="json", exclude={"prompts", "output", "policy"}),
        **tally.as_json(),
        "figures": figures,
    }
    write_json(report_path(settings.output), report, ensure_ascii=False)
