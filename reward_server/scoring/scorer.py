"""Scoring in process: conversations in, rewards out.

Joins the renderer, the length rule and the batcher. The HTTP service is a thin layer above.
Importing this module loads no torch; `Scorer.load` does.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from bon_common.process_reward import aggregated
from reward_server.errors import (
    DeadlineError,
    InvalidRequestError,
    NonFiniteRewardError,
    RenderError,
)
from reward_server.info import ModelInfo
from reward_server.metrics import Metrics, ModelMetrics
from reward_server.model_settings import ModelSettings
from reward_server.network.forward import Forward
from reward_server.network.sequence import Ids, Output, Rendered
from reward_server.schema import (
    ItemResult,
    OnOverflow,
    PrefixResponse,
    ScoreItem,
    ScoreResponse,
    ScoreTimings,
    ScoreUsage,
)
from reward_server.scoring.batcher import Batcher
from reward_server.scoring.lanes import Lanes, StillWanted, is_large
from reward_server.scoring.render import Renderer
from reward_server.scoring.room import Room
from reward_server.scoring.scheduling import ScoreJob
from reward_server.scoring.texts import Texts
from reward_server.scoring.turns import Messages, Tools

WARM_UP = ScoreItem(messages=[{"role": "user", "content": "Hello"}], completions=["Hi.", "No."])


Scorable = ScoreItem | Texts
"""A conversation with its candidates, or texts."""


@dataclass(frozen=True)
class ScoreOptions:
    """How the items of one request are scored."""

    on_overflow: OnOverflow | None = None
    """None takes the model's setting."""
    deadline_s: float | None = None
    """Seconds from now after which the caller has no use for the answer."""
    partial: bool = False
    """The completions are beginnings of answers."""
    request_id: str | None = None
    """The log names the work by it."""


DEFAULT_OPTIONS = ScoreOptions()


class Scorer:
    """A loaded reward model behind its queue. `start` before, `close` after use."""

    def __init__(
        self,
        renderer: Renderer,
        forward: Forward,
        *,
        info: ModelInfo,
        settings: ModelSettings,
        metrics: ModelMetrics | None = None,
    ) -> None:
        self.info = info
        self.metrics = metrics or Metrics().of(info.name)
        self._renderer = renderer
        self._settings = settings
        self._batcher = Batcher(forward, settings, self.metrics, device=info.device)
        self._lanes = Lanes()
        self._tending: asyncio.Task[None] | None = None

    @classmethod
    def load(cls, settings: ModelSettings, metrics: ModelMetrics | None = None) -> Scorer:
        """Load the model and its tokenizer; blocks for seconds to minutes.

        Raises StartupError naming the setting that does not fit the model.
        """
        from reward_server.scoring.loading import load_parts

        parts = load_parts(settings)
        return cls(
            parts.renderer, parts.forward, info=parts.info, settings=settings, metrics=metrics
        )

    async def start(self, thread: Executor | None = None) -> None:
        """Open the queue on the running event loop; models of one device share a `thread`."""
        await self._batcher.start(thread)
        self._tending = asyncio.create_task(self._tend(), name="reward-prefixes")

    async def close(self) -> None:
        """Finish what is queued, refuse what comes."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
        await self._batcher.close()
        self._lanes.close()

    async def warm_up(self) -> None:
        """Score a small conversation, so that the first caller does not pay for first calls."""
        await self.score([WARM_UP])

    async def score(
        self, items: Sequence[Scorable], options: ScoreOptions = DEFAULT_OPTIONS
    ) -> ScoreResponse:
        """Score every completion of every item; equal ones of an item are computed once. Texts
        count as completions, also in the paths of errors.

        All or nothing: one candidate that cannot be scored fails the call. Raises ScoreError;
        cancelling takes the work out of the queue.
        """
        _refuse_empty(items)
        try:
            async with asyncio.timeout(options.deadline_s):
                return await self._score(items, options)
        except TimeoutError as error:
            raise DeadlineError(f"not scored within {options.deadline_s} s") from error

    async def announce(
        self, messages: Messages, tools: Tools = None, *, request_id: str | None = None
    ) -> PrefixResponse:
        """Compute the prompt of candidates to come; returns when that is done.

        Raises ScoreError; cancelling takes the work out of the queue.
        """
        if not messages:
            raise InvalidRequestError("messages is empty", param="messages")
        limit = self.info.max_tokens

        def render(_: StillWanted) -> tuple[Ids | None, int]:
            return self._renderer.prompt(messages, tools, limit=limit)

        with self._batcher.reserve(1):
            ids, tokens = await self._lanes.run(render, large=is_large(messages, tools))
        kept = False
        if ids is not None and tokens < limit:
            kept = await self._batcher.prime(ids, request_id)
        return PrefixResponse(model=self.info.name, tokens=tokens, kept=kept)

    async def _score(self, items: Sequence[Scorable], options: ScoreOptions) -> ScoreResponse:
        started = time.monotonic()
        with self._batcher.reserve(sum(len(_scored(item)) for item in items)):
            sequences, places = await self._prepare(items, options)
        rendering_s = time.monotonic() - started
        job = await self._batcher.submit(sequences, options.request_id)
        result = _assemble(job, places, rendering_s, self.info)
        self.metrics.tokens_asked.inc(sum(sum(item.tokens) for item in result.results))
        return result

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(self._settings.prefix_life_s / 4)
            self._batcher.expire()

    async def _prepare(
        self, items: Sequence[Scorable], options: ScoreOptions
    ) -> tuple[list[Rendered], list[list[int]]]:
        """The distinct sequences of a request, and the place of each item's candidates among them.

        Renders item by item, so that a request of many items leaves others their turn.
        """
        sequences: list[Rendered] = []
        places: list[list[int]] = []
        for i, item in enumerate(items):
            fitted = await self._lanes.run(
                partial(self._render, i, item, options),
                large=is_large(*_read(item)),
            )
            distinct = list(dict.fromkeys(fitted))
            place = {sequence: len(sequences) + j for j, sequence in enumerate(distinct)}
            places.append([place[sequence] for sequence in fitted])
            sequences += distinct
        return sequences, places

    def _render(
        self, i: int, item: Scorable, options: ScoreOptions, still_wanted: StillWanted
    ) -> list[Rendered]:
        on_overflow = options.on_overflow or self._settings.on_overflow
        room = Room(i, self.info.max_tokens, on_overflow, self._renderer.bound)
        if isinstance(item, Texts):
            return self._renderer.render_texts(item, room, still_wanted)
        try:
            rendered = self._renderer.render_all(
                item.messages,
                item.completions,
                item.tools,
                open_turn=options.partial and self._settings.partial_turn == "open",
                unfinished=options.partial,
                room=room,
                still_wanted=still_wanted,
            )
        except RenderError as error:
            error.param = f"items[{i}].{error.param}"
            raise
        return [room.fit(candidate, j) for j, candidate in enumerate(rendered)]


def _scored(item: Scorable) -> Sequence[object]:
    """The texts or completions of an item, one for each reward."""
    return item.inputs if isinstance(item, Texts) else item.completions


def _read(item: Scorable) -> tuple[object, ...]:
    """Every part of an item that is tokenised."""
    if isinstance(item, Texts):
        return (item.inputs, item.prompt)
    return (item.messages, item.completions, item.tools)


def _refuse_empty(items: Sequence[Scorable]) -> None:
    if not items:
        raise InvalidRequestError("items is empty", param="items")
    for i, item in enumerate(items):
        if isinstance(item, ScoreItem) and not item.messages:
            raise InvalidRequestError("messages is empty", param=f"items[{i}].messages")
        if not _scored(item):
            raise InvalidRequestError("completions is empty", param=f"items[{i}].completions")


def _assemble(
    job: ScoreJob, places_of: Sequence[Sequence[int]], rendering_s: float, info: ModelInfo
) -> ScoreResponse:
    """Raises NonFiniteRewardError."""
    for i, places in enumerate(places_of):
        for j, place in enumerate(places):
            if not all(map(math.isfinite, job.outputs[place])):
                where = f"items[{i}].completions[{j}]"
                raise NonFiniteRewardError(f"the reward of {where} is not finite", param=where)
    sequences = job.sequences
    rewards = [_reward(output, info) for output in job.outputs]
    return ScoreResponse(
        model=info.name,
        results=[
            ItemResult(
                rewards=[rewards[place] for place in places],
                tokens=[len(sequences[place].ids) for place in places],
                truncated=[sequences[place].truncated for place in places],
                labels=_by_label([job.outputs[place] for place in places], info),
                steps=_steps([job.outputs[place] for place in places], info),
            )
            for places in places_of
        ],
        usage=ScoreUsage(sequences=len(sequences), tokens=sum(len(s.ids) for s in sequences)),
        timings_ms=ScoreTimings(
            queue=round((rendering_s + job.queue_s) * 1000, 3),
            model=round(job.model_s * 1000, 3),
        ),
    )


def _reward(output: Output, info: ModelInfo) -> float:
    if info.steps is not None:
        return aggregated(output, info.steps.aggregate)
    return sum(weight * value for weight, value in zip(info.weights, output, strict=True))


def _by_label(outputs: Sequence[Output], info: ModelInfo) -> dict[str, list[float]]:
    if len(info.labels) == 1:  # the reward says it all
        return {}
    return {label: [output[i] for output in outputs] for i, label in enumerate(info.labels)}


def _steps(outputs: Sequence[Output], info: ModelInfo) -> list[list[float]]:
    return [] if info.steps is None else [list(output) for output in outputs]
