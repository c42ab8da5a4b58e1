"""Bases of the labellers: for all, for those that ask a server, for those that ask a chat model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

from pydantic import field_validator

from bon_common.judging.conversation import conversation_text
from bon_common.judging.prompts import fill, require_fields
from trainers.base.data import Conversation, Message
from trainers.base.settings import Positive, Settings
from trainers.endpoint.chat import ChatAnswer, ask
from trainers.endpoint.http import JsonClient
from trainers.endpoint.settings import ChatSettings, HttpSettings
from trainers.preferences.labels import Label
from trainers.preferences.records import Listwise

Block = Sequence[Listwise]
LabelBlock = Callable[[Block], Awaitable[list[Label]]]
"""Labels each record of a block.

Raises RequestFailedError if the server gave no answer; the records are then left for the next run.
Raises TrainersError for what ends the run.
"""


class Labeller(Settings):
    """The settings of a labeller, whose `type` names it."""

    least_answers: ClassVar[int] = 2
    """Answers that a record must have."""

    type: str

    @abstractmethod
    def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AbstractAsyncContextManager[LabelBlock]:
        """The function that labels, connected to its server or with its model loaded.

        `margins` belong to the steps that people choose from; `show` prints a line for the user.
        Raises SettingsError for a key that is not set or a missing terminal, ModelError for a
        folder without a reward model.
        """

    @property
    def block(self) -> int:
        """Number of records to label together."""
        return 1

    @property
    def server(self) -> HttpSettings | None:
        """The server that is asked, if there is one: how much at once, and when to give up."""
        return None


class AskingLabeller(Labeller):
    """A labeller that asks a server about one record at a time."""

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[LabelBlock]:
        assert self.server is not None
        async with JsonClient(self.server) as client:

            async def label(tasks: Block) -> list[Label]:
                return [await self.label(client, task) for task in tasks]

            yield label

    @abstractmethod
    async def label(self, client: JsonClient, task: Listwise) -> Label:
        """The label of one record. Raises what `JsonClient.post` raises."""


class ChatLabeller(AskingLabeller):
    """A labeller that fills in a prompt and asks a chat model."""

    placeholders: ClassVar[tuple[str, ...]]
    """The fields that the prompt must have."""

    endpoint: ChatSettings
    """The chat model."""
    prompt: str
    """What it is asked, with `placeholders` in braces."""
    max_tokens: Positive
    """Longest answer of the chat model, in tokens."""

    @field_validator("prompt")
    @classmethod
    def _has_all_fields(cls, value: str) -> str:
        return require_fields(value, *cls.placeholders)

    @property
    def server(self) -> HttpSettings:
        return self.endpoint

    async def ask(
        self, client: JsonClient, task: Listwise, temperature: float = 0.0, **texts: str
    ) -> ChatAnswer:
        """The model's answer to the prompt with the record's conversation and `texts` filled in."""
        conversation = conversation_text(task.prompt, task.inputs.tools)
        text = fill(self.prompt, conversation=conversation, **texts)
        return await ask(
            client,
            self.endpoint,
            Conversation([Message(role="user", content=text)]),
            temperature=temperature,
            max_tokens=self.max_tokens,
            seed=0,
        )
