"""Any causal language model of the Hugging Face library, in the gateway's own process.

It checks the request, renders its prompt and listens to the engine. Generation itself happens in
the engine's thread. Only ``start`` imports torch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bon_gateway.backends.loading_lock import LOADING
from bon_gateway.backends.policy.embedded import params as parameters
from bon_gateway.backends.policy.embedded.engine import Engine
from bon_gateway.backends.policy.embedded.events import Dropped, Event, Unfinished
from bon_gateway.backends.policy.embedded.prompt import prompt_ids
from bon_gateway.backends.policy.embedded.settings import TransformersPolicySettings
from bon_gateway.errors import PolicyError
from bon_gateway.logprobs import Measuring, measured
from bon_gateway.protocols import Trace
from bon_gateway.types import ChatRequest, Completion, Delta, ReportSample, Sample

if TYPE_CHECKING:
    from bon_gateway.backends.policy.embedded.generation import GenerationJob
    from bon_gateway.backends.policy.embedded.loading import LoadedModel

logger = logging.getLogger(__name__)

MAX_ACTIVE = 8
"""Requests that generate in turns, each with its own cache. The others wait."""
CLOSE_TIMEOUT_S = 10.0


Load = Callable[[TransformersPolicySettings], "LoadedModel"]


def _load_alone(settings: TransformersPolicySettings) -> LoadedModel:
    """Load the model in the engine's thread, which imports torch here."""
    with LOADING:
        from bon_gateway.backends.policy.embedded.loading import load_causal_model

        return load_causal_model(settings)


class TransformersPolicy:
    """A PolicyBackend over one model in this process."""

    def __init__(
        self,
        settings: TransformersPolicySettings,
        *,
        load: Load = _load_alone,
        max_active: int = MAX_ACTIVE,
    ) -> None:
        """``load`` is called in the worker thread. Tests pass their own models with it."""
        self._settings = settings
        self.thinking = settings.thinking
        self._name = Path(settings.model).name
        self._engine = Engine(
            lambda: load(settings),
            name=self._name,
            max_active=max_active,
            max_queue=settings.max_queue,
        )

    async def start(self) -> None:
        """Begin to load the model; returns at once."""
        self._engine.start()

    def ready(self) -> bool:
        return self._engine.state == "up"

    def health(self) -> dict[str, str]:
        return {self._name: self._engine.state}

    def troubles(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        """Fail the remaining requests and stop the worker thread after its current step."""
        if not await asyncio.to_thread(self._engine.close, CLOSE_TIMEOUT_S):
            logger.warning("policy model %s is abandoned while it is being loaded", self._name)

    async def sample(
        self, request: ChatRequest, indices: Sequence[int], trace: Trace, report: ReportSample
    ) -> None:
        """Draw all of ``indices`` in one batch and report each candidate as it ends.

        Tokens are always counted, which costs nothing here. An error of the batch fails every
        candidate that has not ended.
        """
        measuring = Measuring.of(request)
        if measuring is not None:
            request = measuring.asked(request)
        events: asyncio.Queue[Event] = asyncio.Queue()
        generation: GenerationJob | None = None
        try:
            try:
                generation = await self._begin(request, indices, trace, events, stream=False)
            except PolicyError as error:
                events.put_nowait(error)
            else:
                self._watch(generation, indices, trace, events)
            await _read(events, set(indices), trace, report, measuring)
        finally:
            if generation is not None:
                self._engine.cancel(generation)

    async def stream(self, request: ChatRequest, trace: Trace) -> AsyncGenerator[Delta, None]:
        """Draw candidate 0, step by step. Raises PolicyError."""
        events: asyncio.Queue[Event] = asyncio.Queue()
        generation = await self._begin(request, [0], trace, events, stream=True)
        try:
            while True:
                event = await events.get()
                if isinstance(event, PolicyError):
                    raise event
                if isinstance(event, Delta):
                    yield event
                    if event.choice is not None and event.choice["finish_reason"] is not None:
                        return
        finally:
            self._engine.cancel(generation)

    @staticmethod
    def _watch(
        generation: GenerationJob,
        indices: Sequence[int],
        trace: Trace,
        events: asyncio.Queue[Event],
    ) -> None:
        """Let the watch stop candidates of a generation that has begun."""

        def stop(index: int) -> None:
            generation.drop(index)
            events.put_nowait(Dropped(index))

        if trace.watch is not None:
            for index in indices:
                trace.watch.begins(index, partial(stop, index))

    async def _begin(
        self,
        request: ChatRequest,
        indices: Sequence[int],
        trace: Trace,
        events: asyncio.Queue[Event],
        *,
        stream: bool,
    ) -> GenerationJob:
        """Check the request and queue it. Raises PolicyError."""
        loaded = self._engine.loaded()
        from bon_gateway.backends.policy.embedded.generation import GenerationJob, GenerationTask

        params = parameters.parse(request.sampling, loaded.defaults, loaded.vocabulary)
        prompt = await asyncio.to_thread(
            prompt_ids, loaded.tokenizer, request.messages, params.chat_template_kwargs
        )
        max_tokens = parameters.fit_to_context(
            params, len(prompt), loaded.context, self._settings.max_tokens
        )
        # With all keys in place the worker only overwrites values, so the dict can be read safely.
        trace.tokens.update(dict.fromkeys(indices, 0))
        generation = GenerationJob(
            loaded,
            GenerationTask(
                prompt=prompt,
                params=params,
                max_tokens=max_tokens,
                indices=tuple(indices),
                seeds=_seeds(request.seed, indices),
                stream=stream,
                tokens=trace.tokens,
                emit=_mailbox(events),
                checkpoints=() if stream or trace.watch is None else trace.watch.checkpoints,
            ),
        )
        self._engine.submit(generation)
        return generation


def _seeds(seed: int | None, indices: Sequence[int]) -> list[int]:
    if seed is None:
        return [secrets.randbits(63) for _ in indices]
    return [seed + index for index in indices]


async def _read(
    events: asyncio.Queue[Event],
    missing: set[int],
    trace: Trace,
    report: ReportSample,
    measuring: Measuring | None,
) -> None:
    """Report until none of the candidates is ``missing``."""
    while missing:
        event = await events.get()
        if isinstance(event, Sample):
            missing.discard(event.index)
            outcome = event.outcome
            if isinstance(outcome, Completion):
                outcome = measured(outcome, measuring)
            report(Sample(event.index, outcome))
        elif isinstance(event, Dropped):
            missing.discard(event.index)
        elif isinstance(event, Unfinished) and trace.watch is not None:
            if event.index in missing:
                trace.watch.passed(event.index, event.checkpoint, event.message)
        elif isinstance(event, PolicyError):
            for index in sorted(missing):
                report(Sample(index, event))
            return


def _mailbox(events: asyncio.Queue[Event]) -> Callable[[Event], None]:
    """A function with which the worker thread puts events into this loop's queue."""
    loop = asyncio.get_running_loop()

    def emit(event: Event) -> None:
        # On a closed loop nobody listens any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(events.put_nowait, event)

    return emit
