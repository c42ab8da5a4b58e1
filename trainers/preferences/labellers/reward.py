"""Reward models, in this process or behind a reward server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bon_common.ensemble import Combine
from trainers.base.settings import Positive
from trainers.endpoint.http import JsonClient, RequestFailedError
from trainers.endpoint.settings import HttpSettings
from trainers.preferences.labellers.base import AskingLabeller, Block, LabelBlock, Labeller
from trainers.preferences.labels import Label
from trainers.preferences.records import Listwise, asked
from trainers.rewards.items import PATH, MalformedError, answered_prompts, rewards_of

if TYPE_CHECKING:
    from trainers.rewards.answers import Placed
    from trainers.rewards.scorer import RewardScorer

ABSTAINED = "the server gave an answer no reward"
UNREADABLE = "too long for the reward model, or refused by its chat template"


class RewardModelLabeller(Labeller):
    """A reward model, or an ensemble of them, in this process. Conversations are rendered and
    scored as the reward server does it."""

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
    """How the rewards of an ensemble's members become one."""

    @property
    def block(self) -> int:
        """Several batches, so that the scorer can sort conversations by length."""
        return 4 * self.batch_size

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[LabelBlock]:
        from trainers.rewards.scorer import RewardScorer

        scorer = RewardScorer.load(
            self.model,
            device=self.device,
            batch_size=self.batch_size,
            label_weights=self.label_weights,
            how=self.ensemble,
        )

        async def label(tasks: Block) -> list[Label]:
            return await asyncio.to_thread(_labels, scorer, tasks)

        yield label


def _labels(scorer: RewardScorer, tasks: Block) -> list[Label]:
    """Records that the model cannot read are dropped and counted."""
    placed = [_placed(task) for task in tasks]
    readable = [scorer.can_read(conversations) for conversations in placed]
    to_score = [one for all_, reads in zip(placed, readable, strict=True) if reads for one in all_]
    rewards = iter(scorer.rewards(to_score) if to_score else ())
    return [
        Label(tuple(next(rewards) for _ in task.candidates))
        if reads
        else Label(dropped={UNREADABLE: 1})
        for task, reads in zip(tasks, readable, strict=True)
    ]


def _placed(task: Listwise) -> list[Placed]:
    where = f"an answer to {task.prompt[-1]['content'][:60]!r}"
    return [(where, asked(task).answered(candidate.answer)) for candidate in task.candidates]


class RewardServerLabeller(HttpSettings, AskingLabeller):
    """A reward server, or a bon-gateway with any reward of its settings, such as a judge
    (`POST /v1/score` below `url`; `model` is then the reward's name)."""

    type: Literal["reward_server"]
    abstained: Literal["fail", "drop"] = "fail"
    """What to do with a record if a judge abstains on one of its answers. `fail` leaves it for the
    next run. `drop` drops and counts it, and needs a bon-gateway: a reward server never abstains,
    and refuses such a request."""

    @property
    def server(self) -> HttpSettings:
        return self

    async def label(self, client: JsonClient, task: Listwise) -> Label:
        prompts = answered_prompts([asked(task).answered(c.answer) for c in task.candidates])
        body: dict[str, Any] = {"items": [prompt.body for prompt in prompts]}
        if self.model is not None:
            body["model"] = self.model
        if self.abstained == "drop":
            body["missing"] = "null"
        try:
            found = rewards_of(await client.post(PATH, body), prompts)
        except MalformedError as error:
            raise RequestFailedError(str(error)) from error
        rewards = [reward for _, reward in sorted(found.items()) if reward is not None]
        if len(rewards) < len(found):
            return Label(dropped={ABSTAINED: 1})
        return Label(tuple(rewards))
