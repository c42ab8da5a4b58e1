"""Scores each answer by a function that knows the truth, such as that of the generated tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Literal

from trainers.base.messages import text_of
from trainers.preferences.labellers.base import Block, LabelBlock, Labeller
from trainers.preferences.labels import Label
from trainers.rewards.gold import GoldSettings, load_gold


class GoldLabeller(Labeller):
    """The score of `gold`. Answers with the same score make no pair."""

    type: Literal["gold"]
    gold: GoldSettings
    """The function that gives the true reward of an answer: for the prompts of `bon-train tasks`,
    `{function: "trainers.tasks.gold:correct"}`."""

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[LabelBlock]:
        gold = load_gold(self.gold)

        async def label(tasks: Block) -> list[Label]:
            return [
                Label(tuple(gold(task.prompt, text_of(c.answer)) for c in task.candidates))
                for task in tasks
            ]

        yield label
