"""The reward model in the gateway's own process, scored by the reward server's own code.

The scorer owns rendering, batching and its threads. This module loads it without blocking and turns
its errors into the gateway's. Only ``start`` imports torch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from bon_common.daemon_thread import in_daemon_thread
from bon_gateway.backends.http.faults import reward_refusal
from bon_gateway.backends.loading_lock import LOADING
from bon_gateway.backends.reward.in_process_settings import InProcessRewardSettings
from bon_gateway.backends.reward.labels import by_answer
from bon_gateway.backends.reward.local import Unannounced
from bon_gateway.errors import NoRewardError, RewardError
from bon_gateway.types import Message, NonTextParts, RewardRequest, Scores
from reward_server.errors import ScoreError, UnavailableError
from reward_server.model_settings import ModelSettings, StepSettings
from reward_server.schema import ScoreItem
from reward_server.scoring.scorer import Scorer

logger = logging.getLogger(__name__)

Load = Callable[[ModelSettings], Scorer]


class InProcessReward(Unannounced):
    """A RewardBackend over a ``Scorer``."""

    def __init__(self, settings: InProcessRewardSettings, *, load: Load = Scorer.load) -> None:
        """``load`` is called in a thread of its own. Tests pass their own scorers with it."""
        self._settings = ModelSettings(
            model=settings.model,
            revision=settings.revision,
            device=settings.device,
            dtype=settings.dtype,
            trust_remote_code=settings.trust_remote_code,
            max_batch_tokens=settings.max_batch_tokens,
            threads=settings.threads,
            steps=None if settings.steps is None else StepSettings(**settings.steps.model_dump()),
        )
        self.non_text_parts: NonTextParts = settings.non_text_parts
        self._load = load
        self._name = Path(settings.model).name
        self._state = "warming"
        self._scorer: Scorer | None = None
        self._opening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to load the model and to score a first conversation. Returns at once."""
        self._opening = asyncio.create_task(self._open(), name="in-process-reward")
        self._opening.add_done_callback(self._opened)

    def ready(self) -> bool:
        return self._state == "up"

    def warming(self) -> bool:
        return self._state == "warming"

    def health(self) -> dict[str, str]:
        return {self._name: self._state}

    def troubles(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        """Finish what is queued, refuse new calls and end the scorer's threads."""
        self._state = "ejected"
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._scorer is not None:
            await self._scorer.close()
            self._scorer = None

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        """Score all completions in one call. Raises RewardError. Nothing is retried."""
        if not completions:
            return Scores((), 0)
        scorer = self._scorer
        if scorer is None or self._state != "up":
            what = "is being loaded" if self._state == "warming" else "is not available"
            raise NoRewardError(f"the reward model {self._name} {what}")
        item = ScoreItem(
            messages=[dict(message) for message in request.messages],
            completions=[dict(completion) for completion in completions],
            tools=list(request.tools) if request.tools else None,
        )
        try:
            scored = (await scorer.score([item])).results[0]
        except UnavailableError as error:
            raise RewardError(
                error.message, code="reward_overloaded", retry_after=error.retry_after_s
            ) from error
        except ScoreError as error:
            if 400 <= error.status < 500:
                raise reward_refusal(error.status, error.param, error.code) from error
            raise RewardError(error.message) from error
        return Scores(
            tuple(scored.rewards),
            sum(scored.tokens),
            labels=by_answer(scored.labels),
            read=scored.tokens,
            truncated=scored.truncated,
        )

    async def _open(self) -> None:
        self._scorer = await in_daemon_thread(
            lambda: _load_alone(self._load, self._settings), "load-reward-model"
        )
        await self._scorer.start()
        await self._scorer.warm_up()
        self._state = "up"

    def _opened(self, opening: asyncio.Task[None]) -> None:
        if opening.cancelled():
            return
        error = opening.exception()
        if error is not None:
            self._state = "ejected"
            reason = " ".join(str(error).split())
            logger.error(
                "reward model %s cannot be loaded: %s: %s", self._name, type(error).__name__, reason
            )


def _load_alone(load: Load, settings: ModelSettings) -> Scorer:
    with LOADING:
        return load(settings)
