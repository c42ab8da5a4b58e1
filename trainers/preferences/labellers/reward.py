"""Reward models, in this process or behind a reward server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from bon_common.ensemble import Combine
from trainers.base.data import Message
from trainers.base.errors import DataError
from trainers.base.settings import Positive
from trainers.endpoint.http import JsonClient, RequestFailedError
from trainers.endpoint.settings import HttpSettings
from trainers.preferences.labellers.protocol import Block, Labeller, LabellerSettings
from trainers.preferences.records import Listwise
from trainers.preferences.verdicts import Verdict

UNREADABLE = "too long for the reward model, or refused by its chat template"


class RewardModelSettings(LabellerSettings):
    """A reward model, or an ensemble of them, in this process."""

    type: Literal["reward_model"]
    model: Path
    """Folder of the reward model, or of an ensemble."""
    batch_size: Positive = 32
    """Conversations scored at a time."""
    device: str = "cpu"
    """A name of torch's, or auto for a GPU if there is one."""
    label_weights: dict[str, float] | None = None
    """Weighs the outputs of a model with several; by default as in its `rm_meta.json`."""
    ensemble: Combine = "mean"
    """What the members of an ensemble say together."""

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[Labeller]:
        yield RewardModelLabeller(self)


class RewardModelLabeller:
    """Scores by a checkpoint or an ensemble, rendered and read as the reward server does it."""

    concurrency = 1

    def __init__(self, settings: RewardModelSettings) -> None:
        """Load the model; ModelError if the folder holds none."""
        from trainers.rewards.scorer import Scorer

        self._scorer = Scorer.load(
            settings.model,
            device=settings.device,
            batch_size=settings.batch_size,
            label_weights=settings.label_weights,
            how=settings.ensemble,
        )
        # Several batches at a time can be sorted by length.
        self.block = 4 * settings.batch_size

    async def label(self, tasks: Block) -> list[Verdict]:
        return await asyncio.to_thread(self._verdicts, tasks)

    def _verdicts(self, tasks: Block) -> list[Verdict]:
        """What the model cannot read is dropped, which is counted."""
        readable = [self._is_readable(task) for task in tasks]
        placed = [
            one
            for task, reads in zip(tasks, readable, strict=True)
            if reads
            for one in _placed(task)
        ]
        rewards = iter(self._scorer.rewards(placed) if placed else ())
        return [
            Verdict(scores=tuple(next(rewards) for _ in task.candidates))
            if reads
            else Verdict(dropped={UNREADABLE: 1})
            for task, reads in zip(tasks, readable, strict=True)
        ]

    def _is_readable(self, task: Listwise) -> bool:
        try:
            self._scorer.require_readable(_placed(task))
        except DataError:
            return False
        return True


def _placed(task: Listwise) -> list[tuple[str, list[Message]]]:
    where = f"an answer to {task.prompt[-1]['content'][:60]!r}"
    return [(where, [*task.prompt, *candidate.answer]) for candidate in task.candidates]


class RewardServerSettings(HttpSettings, LabellerSettings):
    """A reward server (`POST /v1/score` below `url`)."""

    type: Literal["reward_server"]

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[Labeller]:
        async with JsonClient(self) as client:
            yield RewardServerLabeller(client, self)

    @property
    def failures_in_a_row(self) -> int:
        return self.give_up_after


class RewardServerLabeller:
    """Scores by a reward server."""

    block = 1

    def __init__(self, client: JsonClient, settings: RewardServerSettings) -> None:
        self._client = client
        self._settings = settings
        self.concurrency = settings.concurrency

    async def label(self, tasks: Block) -> list[Verdict]:
        return [await self._verdict(task) for task in tasks]

    async def _verdict(self, task: Listwise) -> Verdict:
        # The server takes a completion to be one message; what stands before the last one
        # differs by candidate, so such answers are items of their own.
        items = [
            {"messages": [*task.prompt, *c.answer[:-1]], "completions": [c.answer[-1]]}
            for c in task.candidates
        ]
        body = {"items": items}
        if self._settings.model is not None:
            body |= {"model": self._settings.model}  # type: ignore[dict-item]
        content = await self._client.post("/v1/score", body)
        try:
            scores = [float(result["rewards"][0]) for result in content["results"]]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise RequestFailedError("no rewards in the reply") from error
        if len(scores) != len(task.candidates):
            raise RequestFailedError("not a reward for each answer in the reply")
        return Verdict(scores=tuple(scores))
