"""Sampling over HTTP from any OpenAI-compatible chat endpoint, the gateway among them."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.base.data import Conversation, Message
from trainers.base.errors import RunError
from trainers.base.seeds import mixed_seed
from trainers.base.thinking import ThinkingMarks, drawn_message
from trainers.endpoint.chat import ask
from trainers.endpoint.http import JsonClient, RequestFailedError
from trainers.endpoint.settings import ChatSettings
from trainers.endpoint.work import for_each
from trainers.iterate.settings import EndpointSettings, IterateSettings
from trainers.policy.drawing import DrawnAnswer

FIRST_POLL_S, LAST_POLL_S = 0.1, 2.0
"""The first and the longest pause between two tries to reach the round's model."""

ENDED = ("stop", "tool_calls")
"""How an answer ends by itself."""

SEED_BITS = 31
"""Every server takes seeds below 2^31."""


class EndpointSampler:
    """Asks for one answer a request, because a gateway treats `n` above 1 in its own way.

    If an answer never comes, the run ends; --resume goes on at the same prompts.
    """

    def __init__(self, settings: IterateSettings, endpoint: EndpointSettings, number: int) -> None:
        """For round `number`. Waits until the endpoint answers under the round's model name.

        Raises RunError when it does not in time, SettingsError for a missing key.
        """
        self._settings = settings
        self._chat = endpoint.for_round(number)
        asyncio.run(_wait(self._chat, endpoint.wait_s))

    def sample(self, prompts: Sequence[Conversation], seed: int) -> list[list[DrawnAnswer]]:
        """See `RoundSampler`."""
        return asyncio.run(self._sample(prompts, seed))

    def describe(self) -> Mapping[str, Any]:
        """See `RoundSampler`."""
        return {"where": self._chat.url, "policy": self._chat.model, "weights_sha256": None}

    async def _sample(self, prompts: Sequence[Conversation], seed: int) -> list[list[DrawnAnswer]]:
        samples = self._settings.samples
        answers: dict[int, DrawnAnswer] = {}
        async with JsonClient(self._chat) as client:

            async def one(place: int) -> None:
                try:
                    reply = await ask(
                        client,
                        self._chat,
                        prompts[place // samples],
                        temperature=self._settings.temperature,
                        max_tokens=self._settings.max_new_tokens,
                        seed=mixed_seed(seed, place) >> (63 - SEED_BITS),
                    )
                except RequestFailedError as error:
                    raise RunError(f"{self._chat.url}: {error}") from error
                answers[place] = DrawnAnswer(
                    _apart(reply.message, self._settings.thinking), reply.finish_reason in ENDED
                )

            await for_each(range(len(prompts) * samples), one, self._chat.concurrency)
        return [
            [answers[row * samples + column] for column in range(samples)]
            for row in range(len(prompts))
        ]


async def _wait(chat: ChatSettings, wait_s: float) -> None:
    """Return when one token comes under the model's name.

    A server that does not know the name, or is not up yet, refuses or does not answer.
    """
    end, pause = time.monotonic() + wait_s, FIRST_POLL_S
    once = chat.model_copy(update={"retries": 0})
    async with JsonClient(once) as client:
        while True:
            try:
                await ask(
                    client,
                    once,
                    Conversation([Message(role="user", content="hello")]),
                    temperature=1.0,
                    max_tokens=1,
                )
            except (RequestFailedError, RunError) as error:
                if time.monotonic() >= end:
                    raise RunError(f"{chat.model} is not served: {error}") from error
            else:
                return
            await asyncio.sleep(min(pause, max(0.0, end - time.monotonic())))
            pause = min(LAST_POLL_S, 2 * pause)


def _apart(message: Message, thinking: ThinkingMarks | None) -> Message:
    """The message with the thinking that the engine left in its content set apart."""
    apart = drawn_message(message["content"], thinking)
    return message | apart if "reasoning_content" in apart else message
