"""What the next batch holds, decided from what waits; no clocks, no tasks.

Requests with the least left go first, so that a small one waits little longer than for the running
batch. If a few batches passed over the oldest request, it leads the next one, so that large ones
finish under any load. A request of more than a `slice` is cut into batches of at most that many
tokens: between answers, and, where prefixes are kept, within a prompt.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reward_server.network.forward import KeptPrompts
from reward_server.network.sequence import Ids, Output, Rendered

PASSED_OVER = 3
"""Batches without the oldest request, after which one serves requests in the order of arrival."""
LEAST_SHARE = 4
"""A piece of a prompt that is smaller than this fraction (1/4) of a slice waits for the next
batch."""
MOST_SLOWER = 8
"""A token of a large request counts as at most this many times slower than another."""
RECENT = 64
"""The size of a typical request is the median of this many recent ones."""


@dataclass
class QueuedPrompt:
    """A prompt and its waiting candidates; without any, a prompt to be computed ahead of them."""

    prompt: Ids
    answers: deque[tuple[int, int]]
    """Each sequence's place in its request, and its number of tokens behind the prompt."""
    computed: int
    """Number of the prompt's leading tokens that are computed, as far as this job knows."""

    @property
    def ahead(self) -> int:
        return len(self.prompt) - self.computed

    @property
    def tokens(self) -> int:
        return self.ahead + sum(tokens for _, tokens in self.answers)


@dataclass(eq=False)
class ScoreJob:
    """One request: what still waits, and the model's outputs so far."""

    sequences: Sequence[Rendered]
    parts: deque[QueuedPrompt]
    outputs: list[Output]
    """One for each sequence, in the same order."""
    done: asyncio.Future[None]
    request_id: str | None = None
    """The request's name in the log."""
    model_s: float = 0.0
    """Seconds of the batches that it took part in."""
    queue_s: float = 0.0
    """Seconds of all other time until it was done."""
    tokens: int = field(init=False)
    """Tokens to compute for what waits."""
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

    entries: list[tuple[ScoreJob, int]] = field(default_factory=list)
    """Jobs and the places of their sequences."""
    prefixes: list[tuple[ScoreJob, Ids]] = field(default_factory=list)
    jobs: list[ScoreJob] = field(default_factory=list)
    """Jobs that take part in it, each once."""
    tokens: int = 0
    cut: bool = False
    """Whether it holds a piece of a job that is too large for one batch."""

    @property
    def request_ids(self) -> list[str]:
        """Ids of the requests that take part, where they have one."""
        return [job.request_id for job in self.jobs if job.request_id is not None]

    def only(self, job: ScoreJob) -> Batch:
        """The part of this batch that belongs to one job."""
        return Batch(
            entries=[entry for entry in self.entries if entry[0] is job],
            prefixes=[prefix for prefix in self.prefixes if prefix[0] is job],
            jobs=[job],
            cut=self.cut,
        )


@dataclass(frozen=True)
class Slice:
    """When a request is cut, and into what."""

    whole: int
    """A request of at most this many tokens, the size of a typical one, runs whole."""
    piece: int
    """A batch takes pieces of larger requests while it has fewer tokens than this. It is smaller
    than `whole` by as much as tokens of long conversations are slower: they attend to more."""


class Sizes:
    """How large requests are lately, and how long their tokens take."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._median = 0
        self._pace: dict[bool | None, float] = {}
        """Seconds a token takes, in batches with and without a piece of a large request, and in all
        of them (None)."""

    def add(self, tokens: int) -> None:
        self._recent.append(tokens)
        self._median = int(statistics.median_high(self._recent))

    def took(self, seconds: float, tokens: int, *, cut: bool) -> None:
        """A batch has run; `cut` says whether it had a piece of a large request."""
        for kind in (cut, None) if tokens else ():
            now = seconds / tokens
            self._pace[kind] = 0.8 * self._pace.get(kind, now) + 0.2 * now

    def retry_after(self, waiting: int) -> int:
        """Seconds, from 1 to 60, that this many tokens will take."""
        return min(max(math.ceil(waiting * self._pace.get(None, 0.0)), 1), 60)

    def slice(self, least: int, most: int) -> Slice:
        typical = min(max(self._median, least), most)
        pieces, others = self._pace.get(True, 0.0), self._pace.get(False, 0.0)
        slower = pieces / others if others and pieces > others else 1.0
        return Slice(typical, max(int(typical / min(slower, MOST_SLOWER)), 1))


def queued_prompts(
    sequences: Sequence[Rendered], prompts: KeptPrompts | None
) -> deque[QueuedPrompt]:
    """The sequences by their prompts, in the order in which these first appear; each by itself
    where no prompt is shared."""
    if prompts is None:
        return deque(
            QueuedPrompt((), deque([(place, len(sequence.ids))]), 0)
            for place, sequence in enumerate(sequences)
        )
    parts: dict[Ids, QueuedPrompt] = {}
    for place, sequence in enumerate(sequences):
        prompt = sequence.ids[: sequence.prompt_tokens]
        if prompt not in parts:
            parts[prompt] = QueuedPrompt(prompt, deque(), prompts.known(prompt))
        parts[prompt].answers.append((place, len(sequence.ids) - len(prompt)))
    return deque(parts.values())


def next_batch(
    jobs: Iterable[ScoreJob],
    prompts: KeptPrompts | None,
    *,
    budget: int,
    cut: Slice,
    oldest_leads: bool,
) -> Batch:
    """Take out of `jobs`, which come in the order of their arrival, what one batch may hold.

    It has at most `budget` tokens, or one unit that is larger. Jobs of at most `cut.whole` tokens
    are taken whole, others in pieces, while the batch has at most `cut.piece`.
    """
    batch = Batch()
    # Least left first keeps the mean wait shortest, and starves the largest: hence `oldest_leads`.
    for job in jobs if oldest_leads else sorted(jobs, key=lambda job: job.tokens):
        before = len(batch.entries) + len(batch.prefixes)
        if job.tokens <= cut.whole:
            if batch.tokens and batch.tokens + job.tokens > budget:
                continue  # in the order of arrival a smaller one may follow
            _take_all(job, batch)
        else:
            _take_some(job, batch, prompts, cut.piece)
            batch.cut = batch.cut or len(batch.entries) + len(batch.prefixes) > before
        if len(batch.entries) + len(batch.prefixes) > before or not job.parts:
            batch.jobs.append(job)
            job.count()
    return batch


def _take_all(job: ScoreJob, batch: Batch) -> None:
    batch.tokens += job.tokens
    while job.parts:
        part = job.parts.popleft()
        if not part.answers:
            batch.prefixes.append((job, part.prompt))
        batch.entries.extend((job, place) for place, _ in part.answers)


def _take_some(job: ScoreJob, batch: Batch, prompts: KeptPrompts | None, most: int) -> None:
    """Take pieces of a job, in order, while the batch has fewer than `most` tokens."""
    while job.parts and batch.tokens < most:
        part, room = job.parts[0], most - batch.tokens
        keeps = prompts is not None and prompts.keeps(len(part.prompt))
        if prompts is not None:
            # Another request may have had the same prompt computed meanwhile.
            part.computed = max(part.computed, prompts.known(part.prompt))
        if part.ahead > room and keeps:
            if room < most // LEAST_SHARE and batch.tokens:
                # Each piece attends to all before it: slivers would pay that again and again.
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
            # The rest comes later and finds the prompt, or must have it computed again.
            part.computed = len(part.prompt) if keeps else 0
            return
        job.parts.popleft()


def _take_answers(job: ScoreJob, part: QueuedPrompt, batch: Batch, most: int) -> bool:
    """Take the answers that fit, with the rest of their prompt; returns whether any did."""
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
