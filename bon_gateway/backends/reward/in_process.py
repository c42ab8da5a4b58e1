"""The reward model in the gateway's own process, scored by the reward server's own code.

The scorer owns rendering, batching and its threads. This module loads it without blocking and turns
its errors into the gateway's. Only ``start`` imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bon_gateway.backends.http.faults import reward_refusal
from bon_gateway.backends.in_process import InProcessModel
from bon_gateway.backends.reward.in_process_settings import InProcessRewardSettings
from bon_gateway.backends.reward.labels import by_answer, lacking
from bon_gateway.backends.reward.local import Unannounced
from bon_gateway.errors import NoRewardError, RewardError
from bon_gateway.types import Message, NonTextParts, RewardRequest, Scores
from reward_server.errors import ScoreError, UnavailableError
from reward_server.model_settings import ModelSettings, StepSettings
from reward_server.schema import ScoreItem
from reward_server.scoring.scorer import Scorer

Load = Callable[[ModelSettings], Scorer]


class InProcessReward(InProcessModel, Unannounced):
    """A RewardBackend over a ``Scorer``. What is queued when it is closed is finished."""

    kind = "reward model"

    def __init__(
        self,
        settings: InProcessRewardSettings,
        *,
        labels: Sequence[str] = (),
        load: Load = Scorer.load,
    ) -> None:
        """A model that lacks one of ``labels`` does not come up. ``load`` is called in a thread of
        its own. Tests pass their own scorers with it."""
        super().__init__(settings.model)
        self._labels = labels
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
        self._scorer: Scorer | None = None

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        """Score all completions in one call. Raises RewardError. Nothing is retried."""
        if not completions:
            return Scores((), 0)
        scorer = self._scorer
        if scorer is None or not self.ready():
            raise NoRewardError(self._not_up())
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
        self._scorer = await self._load_alone(lambda: self._load(self._settings))
        if self._labels:
            # A single number has a name in the model, and is no label of an answer.
            names = self._scorer.info.labels
            wrong = lacking(self._labels, names if len(names) > 1 else ())
            if wrong is not None:
                raise ValueError(f"it {wrong}")
        await self._scorer.start()
        await self._scorer.warm_up()

    async def _release(self) -> None:
        if self._scorer is not None:
            await self._scorer.close()
            self._scorer = None
