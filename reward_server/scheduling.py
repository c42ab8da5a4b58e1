"""What the next batch holds, decided from what waits; no clocks, no tasks.

Requests with little left go first, so that a small one waits for little more than the batch that
runs. Every few batches the oldest request leads instead, so that large ones come to their end
under any load. A request of more than a `slice` is cut into batches of at most that many tokens:
between answers, and, where prefixes are kept, within a prompt.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reward_server.forward import Forward, Ids, Output
from reward_server.render import Rendered

OLDEST_LEADS = 4
"""One of so many batches serves requests in the order of their arrival."""
LEAST_SHARE = 4
"""A piece of a prompt that is smaller than one in so many of a slice waits for the next batch."""
RECENT = 64
"""Requests of which the typical one is the median."""


@dataclass
class Part:
    """Candidates of one prompt that wait, or a prompt alone that is to be computed ahead."""

    prompt: Ids
    answers: deque[tuple[int, int]]
    """Place of each sequence in its request, and its tokens behind the prompt."""
    computed: int
    """Leading tokens of the prompt that are known."""

    @property
    def ahead(self) -> int:
        return len(self.prompt) - self.computed

    @property
    def tokens(self) -> int:
        return self.ahead + sum(tokens for _, tokens in self.answers)


@dataclass(eq=False)
class Job:
    """One request: what of it waits, and what it has got so far."""

    sequences: Sequence[Rendered]
    parts: deque[Part]
    outputs: list[Output]
    done: asyncio.Future[None]
    model_s: float = 0.0
    tokens: int = field(init=False)
    """To be computed for what waits."""
    waiting: int = field(init=False)
    """Sequences that wait; a prompt alone counts as one."""

    def __post_init__(self) -> None:
        self.count()

    def count(self) -> None:
        self.tokens = sum(part.tokens for part in self.parts)
        self.waiting = sum(len(part.answers) or 1 for part in self.parts)


@dataclass
class Batch:
    """What goes to the model together."""

    entries: list[tuple[Job, int]] = field(default_factory=list)
    """Jobs and the places of their sequences."""
    prefixes: list[tuple[Job, Ids]] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    """Whose work it is, each once."""
    tokens: int = 0

    def only(self, job: Job) -> Batch:
        """The part of one job."""
        return Batch(
            entries=[entry for entry in self.entries if entry[0] is job],
            prefixes=[prefix for prefix in self.prefixes if prefix[0] is job],
            jobs=[job],
        )


class Sizes:
    """How large requests are lately."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._median = 0

    def add(self, tokens: int) -> None:
        self._recent.append(tokens)
        self._median = int(statistics.median_high(self._recent))

    def slice(self, least: int, most: int) -> int:
        """Tokens of a request that is cut which may run in one batch: as many as a typical
        request has, so that a typical one waits for about one of its own."""
        return min(max(self._median, least), most)


def parts_of(sequences: Sequence[Rendered], forward: Forward) -> deque[Part]:
    """The sequences by their prompts, in the order in which these first appear."""
    if not forward.shares_prompts:
        return deque(
            Part((), deque([(place, len(sequence.ids))]), 0)
            for place, sequence in enumerate(sequences)
        )
    parts: dict[Ids, Part] = {}
    for place, sequence in enumerate(sequences):
        prompt = sequence.ids[: sequence.prompt_tokens]
        if prompt not in parts:
            parts[prompt] = Part(prompt, deque(), forward.known(prompt))
        parts[prompt].answers.append((place, len(sequence.ids) - len(prompt)))
    return deque(parts.values())


def next_batch(
    jobs: Iterable[Job], forward: Forward, *, budget: int, most_of_one: int, oldest_leads: bool
) -> Batch:
    """Take out of `jobs`, which come in the order of their arrival, what one batch may hold.

    It has at most `budget` tokens, or one unit that is larger. Of a job with more than
    `most_of_one` tokens it takes a part, while the batch has at most that many.
    """
    batch = Batch()
    for job in jobs if oldest_leads else sorted(jobs, key=lambda job: job.tokens):
        before = len(batch.entries) + len(batch.prefixes)
        if job.tokens <= most_of_one:
            if batch.tokens and batch.tokens + job.tokens > budget:
                continue
            _take_all(job, batch)
        else:
            _take_some(job, batch, forward, most_of_one)
        if len(batch.entries) + len(batch.prefixes) > before or not job.parts:
            batch.jobs.append(job)
            job.count()
    return batch


def _take_all(job: Job, batch: Batch) -> None:
    batch.tokens += job.tokens
    while job.parts:
        part = job.parts.popleft()
        if not part.answers:
            batch.prefixes.append((job, part.prompt))
        batch.entries.extend((job, place) for place, _ in part.answers)


def _take_some(job: Job, batch: Batch, forward: Forward, most: int) -> None:
    """Pieces of a job, in order, while the batch has fewer than `most` tokens."""
    while job.parts and batch.tokens < most:
        part, room = job.parts[0], most - batch.tokens
        keeps = forward.keeps(len(part.prompt))
        part.computed = max(part.computed, forward.known(part.prompt))
        if part.ahead > room and keeps:
            if room < most // LEAST_SHARE and batch.tokens:
                return
            part.computed += room
            batch.prefixes.append((job, part.prompt[: part.computed]))
            batch.tokens += room
            return
        if not part.answers:
            if part.ahead:
                batch.prefixes.append((job, part.prompt))
                batch.tokens += part.ahead
        elif not _take_answers(job, part, batch, most):
            return
        if part.answers:
            part.computed = len(part.prompt) if keeps else 0
            return
        job.parts.popleft()


def _take_answers(job: Job, part: Part, batch: Batch, most: int) -> bool:
    """As many answers as fit, with what their prompt lacks; whether any did."""
    tokens, taken = batch.tokens + part.ahead, 0
    while part.answers:
        place, answer = part.answers[0]
        if tokens + answer > most and (taken or batch.tokens):
            break
        part.answers.popleft()
        batch.entries.append((job, place))
        tokens += answer
        taken += 1
    if taken:
        batch.tokens = tokens
    return taken > 0
