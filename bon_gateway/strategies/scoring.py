"""Scores candidates while others still generate.

For one request one call for finished candidates runs at a time. Those that finish meanwhile go
together in the next call. So a burst is scored as a batch, and the reward model's work hides behind
generation. What the reward model refused is not asked for again. Unfinished answers are scored
beside that, in calls of their own. Rewards that compare answers with each other come from one call,
when all candidates are there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import orjson

from bon_gateway.errors import RewardError, RewardRefusedError
from bon_gateway.judging import JudgeUsage
from bon_gateway.protocols import RewardBackend
from bon_gateway.strategies.conversation import RewardView
from bon_gateway.types import Completion, Message, Scores

LINGER_S = 0.02
"""Seconds that the first candidate waits for others, to be scored in one call with them. The wait
costs no time while others generate, and one call for several is cheaper than a call for each. If
generating and scoring share cores, generating gets the difference."""

_log = logging.getLogger(__name__)


class Scoring:
    """Rewards by candidate index. Its task belongs to the caller's TaskGroup. The caller must call
    ``close`` before it leaves that group, which takes no new tasks then."""

    def __init__(
        self, view: RewardView, reward: RewardBackend, tasks: asyncio.TaskGroup, retries: int
    ) -> None:
        self._view = view
        self._beginnings = msgspec.structs.replace(view.request, partial=True)
        self._reward = reward
        self._tasks = tasks
        self._retries = retries
        self._keys: dict[int, bytes] = {}
        """Each candidate's answer as JSON. Identical answers share a key, and so one reward."""
        self._messages: dict[bytes, Message] = {}
        self._waiting: list[bytes] = []
        self._known: dict[bytes, float] = {}
        self._members: dict[bytes, Mapping[str, float]] = {}
        """See ``Scores.members``."""
        self._errors: dict[bytes, RewardError] = {}
        """The last error of each answer."""
        self._given_up: set[bytes] = set()
        self._unreadable: RewardRefusedError | None = None
        """Set if the conversation itself was refused: then no answer to it can be scored."""
        self._linger: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self.tokens = 0
        self.judging: JudgeUsage | None = None
        """Cost of chat models, if any was asked."""
        self.left_out: set[str] = set()
        """Members of an ensemble that could not score."""

    def announce(self) -> None:
        """Tell the reward model which conversation is coming, if it makes use of that."""
        if self._reward.announces:
            announced = self._reward.announce(self._view.request)
            self._announcing = self._tasks.create_task(announced)

    def submit(self, index: int, completion: Completion) -> None:
        """Have the candidate scored. Identical answers are scored once."""
        message = self._view.answer(completion.message)
        key = self._keys[index] = orjson.dumps(message)
        if key in self._messages:
            return
        self._messages[key] = message
        self._waiting.append(key)
        if self._reward.compares:
            return
        if self._running is None and self._linger is None:
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(LINGER_S, self._begin)

    async def partial(self, messages: Sequence[Message]) -> list[float | None]:
        """Rewards of unfinished answers, in one call that is not tried again. None for an answer
        that has no text yet, because it is still thinking, and for all if the call fails."""
        answers = [self._view.answer(message) for message in messages]
        texts = {orjson.dumps(answer): answer for answer in answers if answer["content"].strip()}
        if not texts:
            return [None] * len(messages)
        try:
            scores = await self._reward.score(self._beginnings, [*texts.values()])
        except RewardError as error:
            fields = {"request_id": self._view.request.request_id, "reason": error.message}
            _log.info("partial rewards are missing", extra={"fields": fields})
            return [None] * len(messages)
        self._count(scores)
        known = dict(zip(texts, scores.rewards, strict=True))
        return [known.get(orjson.dumps(answer)) for answer in answers]

    async def settle(self, within: float | None) -> bool:
        """Wait until all is scored, at most for ``within`` seconds. No more candidates come
        meanwhile. Scoring then gives up. Returns whether all is scored."""
        self.close()
        if self._running is None:
            # No call runs that this would have to wait for, so it needs no task.
            try:
                async with asyncio.timeout(within):
                    await self._work()
            except TimeoutError:
                return False
            return True
        done, _ = await asyncio.wait([self._running], timeout=within)
        if not done:
            self._running.cancel()
        return bool(done)

    def close(self) -> None:
        """Begin no further call by itself."""
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._announcing is not None:
            # If it has not arrived by now, the candidates' own calls do the work better.
            self._announcing.cancel()
            self._announcing = None

    def reward(self, index: int) -> float | None:
        return self._known.get(self._keys[index]) if index in self._keys else None

    def members(self, index: int) -> Mapping[str, float] | None:
        return self._members.get(self._keys[index]) if index in self._keys else None

    def losses(self, indices: Iterable[int]) -> tuple[RewardError, ...]:
        """Why these candidates lack rewards: one error of each kind, first those that may pass.
        Candidates that were not submitted do not count. Call it once, after ``settle``: it logs
        them."""
        missing = [
            self._errors.get(self._keys[index])
            or RewardError("the reward model did not answer by the deadline")
            for index in indices
            if index in self._keys and self._keys[index] not in self._known
        ]
        if not missing:
            return ()
        self._log_missing(missing)
        kinds = {error.loss: error for error in reversed(missing)}
        return tuple(sorted(kinds.values(), key=lambda error: error.loss == "reward_refused"))

    def _log_missing(self, missing: Sequence[RewardError]) -> None:
        """One line for a request, however many of its answers lack rewards."""
        reasons = Counter((error.code, error.message) for error in missing)
        fields = {
            "request_id": self._view.request.request_id,
            "answers": len(missing),
            "reasons": [
                {"code": code, "reason": reason, "answers": count}
                for (code, reason), count in reasons.most_common()
            ],
        }
        _log.info("rewards are missing", extra={"fields": fields})

    def _begin(self) -> None:
        self._linger = None
        self._running = self._tasks.create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await self._score(batch)
        self._running = None

    async def _score(self, batch: Sequence[bytes]) -> None:
        """Score ``batch`` in one call. If that fails, score each answer alone: one that the reward
        model cannot read, because it is too long for example, then costs only its own reward."""
        if self._unreadable is not None:
            self._errors.update(dict.fromkeys(batch, self._unreadable))
            return
        error = await self._try(batch)
        if error is None:
            return
        if self._reward.compares:
            await self._try_together(batch, error)
            return
        # After a refusal of one answer, asking for the others is a new question and not a retry,
        # so it is allowed even without retries.
        for _ in range(self._retries + error.divisible):
            alone = [k for k in batch if k not in self._known and k not in self._given_up]
            await asyncio.gather(*(self._try([key]) for key in alone))

    async def _try_together(self, batch: Sequence[bytes], error: RewardError) -> None:
        """Try again with all answers, because answers that are compared must stay in one call."""
        for _ in range(self._retries):
            if not error.retryable:
                return
            again = await self._try(batch)
            if again is None:
                return
            error = again

    async def _try(self, batch: Sequence[bytes]) -> RewardError | None:
        try:
            answers = [self._messages[key] for key in batch]
            scores = await self._reward.score(self._view.request, answers)
        except RewardRefusedError as error:
            self._refused(batch, error)
            return error
        except RewardError as error:
            self._errors.update(dict.fromkeys(batch, error))
            if not error.retryable:
                self._given_up.update(batch)
            return error
        self._count(scores)
        for key, reward in zip(batch, scores.rewards, strict=True):
            if reward is not None:
                self._known[key] = reward
            elif scores.missing is not None:
                self._errors[key] = scores.missing
        if scores.members is not None:
            self._members.update(zip(batch, scores.members, strict=True))
        return None

    def _count(self, scores: Scores) -> None:
        self.tokens += scores.tokens
        self.left_out.update(scores.left_out)
        if scores.judging is not None:
            self.judging = scores.judging + (self.judging or JudgeUsage())

    def _refused(self, batch: Sequence[bytes], error: RewardRefusedError) -> None:
        self._errors.update(dict.fromkeys(batch, error))
        if error.answer is not None:
            # A slice, because the index comes from the reward model and may be out of range.
            self._given_up.update(batch[error.answer : error.answer + 1])
        elif not error.too_many:
            # It is about the conversation, so no call for another answer can succeed either.
            self._unreadable = error
        if len(batch) == 1 or not error.divisible:
            self._given_up.update(batch)
