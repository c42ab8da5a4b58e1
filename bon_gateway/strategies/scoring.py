"""Scores candidates while others still generate.

One call to the reward model runs at a time for one request; candidates that finish meanwhile wait
and go together in the next. So a burst is scored as a batch, and the reward model's work hides
behind generation.
"""

from __future__ import annotations

import asyncio
import contextlib

import orjson

from bon_gateway.errors import RewardError
from bon_gateway.protocols import RewardBackend
from bon_gateway.strategies.conversation import Conversation
from bon_gateway.types import Caller, Completion, Message

LINGER_S = 0.02
"""How long, in seconds, the first candidate waits for others to be scored with. Nobody waits for
it while another still generates, and one call for several is cheaper than a call for each: on a
machine that generates and scores with the same cores, generating gets the difference."""


class Scoring:
    """Rewards by candidate index. Its task belongs to the caller's TaskGroup, and the caller must
    ``close`` it before that group is gone."""

    def __init__(
        self,
        conversation: Conversation,
        caller: Caller,
        reward: RewardBackend,
        tasks: asyncio.TaskGroup,
        retries: int,
    ) -> None:
        self._conversation = conversation
        self._caller = caller
        self._reward = reward
        self._tasks = tasks
        self._retries = retries
        self._waiting: dict[bytes, list[int]] = {}
        self._messages: dict[bytes, Message] = {}
        self._known: dict[bytes, float] = {}
        self._linger: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self.rewards: dict[int, float] = {}
        self.tokens = 0
        self.error: RewardError | None = None
        """The last failure; rewards that it cost are missing from ``rewards``."""

    def announce(self) -> None:
        """Tell the reward model what is coming, where that makes a difference."""
        if self._reward.announces:
            told = self._conversation
            announced = self._reward.announce(told.messages, tools=told.tools, caller=self._caller)
            self._announcing = self._tasks.create_task(announced)

    def submit(self, index: int, completion: Completion) -> None:
        """Have the candidate scored. Identical answers are scored once."""
        message = self._conversation.answer(completion.message)
        key = orjson.dumps(message)
        if key in self._known:
            self.rewards[index] = self._known[key]
            return
        self._messages[key] = message
        self._waiting.setdefault(key, []).append(index)
        if self._running is None and self._linger is None:
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(LINGER_S, self._begin)

    async def settle(self, within: float | None) -> None:
        """No candidate comes any more. Wait until all is scored, or for ``within`` seconds; what
        is not scored then is given up."""
        self.close()
        if self._running is None:
            # Nothing runs that this would have to wait for, so that it needs no task.
            if within is None:
                await self._work()
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._work()
            return
        done, _ = await asyncio.wait([self._running], timeout=within)
        if not done:
            self._running.cancel()

    def close(self) -> None:
        """Begin nothing more by itself."""
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._announcing is not None:
            # What has not begun by now the candidates' own calls do better.
            self._announcing.cancel()
            self._announcing = None

    def _begin(self) -> None:
        self._linger = None
        self._running = self._tasks.create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, {}
            await self._score(batch)
        self._running = None

    async def _score(self, batch: dict[bytes, list[int]]) -> None:
        """Score ``batch`` in one call; if that fails, each answer alone, so that one which the
        reward model cannot read (too long for it, say) costs no reward but its own."""
        if await self._try(batch):
            return
        for _ in range(self._retries):
            alone = [{key: indices} for key, indices in batch.items() if key not in self._known]
            await asyncio.gather(*map(self._try, alone))

    async def _try(self, batch: dict[bytes, list[int]]) -> bool:
        try:
            scores = await self._reward.score(
                self._conversation.messages,
                [self._messages[key] for key in batch],
                tools=self._conversation.tools,
                caller=self._caller,
            )
        except RewardError as error:
            self.error = error
            return False
        self.tokens += scores.tokens
        for key, reward in zip(batch, scores.rewards, strict=True):
            self._known[key] = reward
            for index in batch[key]:
                self.rewards[index] = reward
        return True
