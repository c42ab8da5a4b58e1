"""Rewards from verdicts: their weighted mean.

A pass counts 1 and a fail 0, unless the verifier gives a score. If one verifier abstains, the
answer has no reward: a mean over fewer verifiers does not compare with the other candidates'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bon_common.settings.weights import Weight
from bon_common.together import together
from bon_gateway.backends.reward.local import LocalReward
from bon_gateway.backends.settings import FindKey, RewardSettings
from bon_gateway.errors import AbstainedError
from bon_gateway.judging import JudgeUsage
from bon_gateway.sections.base import check_part
from bon_gateway.types import Message, NonTextParts, RewardRequest, Scores
from bon_gateway.verdicts import Verdict
from bon_gateway.verifiers.graders.multi import score_of
from bon_gateway.verifiers.kinds import AnyVerifier
from bon_gateway.verifiers.settings import check_names
from bon_gateway.verifiers.verifier import Verifier


class VerifiersRewardSettings(RewardSettings):
    """Verifiers as a reward: the weighted mean of their verdicts."""

    type: Literal["verifiers"]
    verifiers: Annotated[tuple[AnyVerifier, ...], Field(min_length=1)]
    """The verifiers, as in a served model's ``verifier``. A pass counts 1 and a fail 0, unless a
    verifier gives a score."""
    weights: dict[str, Weight] = Field(default_factory=dict)
    """How much each verifier counts beside the others, by its name; 1 for those not named. Only
    ratios matter."""
    non_text_parts: NonTextParts = "send"
    """As for ``vllm_classify``. Verifiers get the conversation, but most read only the answer."""

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        check_names(self.verifiers)
        unknown = sorted(self.weights.keys() - {one.title for one in self.verifiers})
        if unknown:
            raise ValueError(f"weights: no verifier is called {unknown[0]!r}")
        return self

    @property
    def reads_metadata(self) -> bool:
        return True

    @property
    def key_variables(self) -> Mapping[str, str]:
        return {
            f"verifiers.{place}.{key}": variable
            for place, one in enumerate(self.verifiers)
            for key, variable in one.key_variables.items()
        }

    def check(self) -> None:
        for place, one in enumerate(self.verifiers):
            check_part(f"verifiers.{place}", one)

    def build(self, key: str | None) -> VerifiersReward:
        return self.build_with(_no_key)

    def build_with(self, keys: FindKey) -> VerifiersReward:
        return VerifiersReward(self, {one.title: one.build(keys) for one in self.verifiers})


def _no_key(variable: str | None) -> str | None:
    """Verifiers have their own keys: a common one would go to the wrong hosts."""
    if variable is not None:
        raise ValueError("its verifiers have keys: build it with `build_with`")
    return None


class VerifiersReward(LocalReward):
    def __init__(
        self, settings: VerifiersRewardSettings, verifiers: Mapping[str, Verifier]
    ) -> None:
        super().__init__("verifiers", settings.non_text_parts)
        self._verifiers = verifiers
        self._weights = [settings.weights.get(name, 1.0) for name in verifiers]

    async def start(self) -> None:
        for verifier in self._verifiers.values():
            await verifier.start()

    async def close(self) -> None:
        for verifier in self._verifiers.values():
            await verifier.close()

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        if not completions:
            return Scores((), 0)
        columns = await together(
            one.verify(request, completions) for one in self._verifiers.values()
        )
        rows = [*zip(*columns, strict=True)]
        rewards = tuple(self._reward(row) for row in rows)
        judged = [one.judging for row in rows for one in row if one.judging is not None]
        return Scores(
            rewards,
            tokens=0,
            missing=self._missing(rows) if None in rewards else None,
            members=[self._by_name(row) for row in rows] if len(self._verifiers) > 1 else None,
            judging=sum(judged, JudgeUsage()) if judged else None,
        )

    def _reward(self, row: Sequence[Verdict]) -> float | None:
        if any(verdict.silent for verdict in row):
            return None
        total = sum(w * score_of(one) for w, one in zip(self._weights, row, strict=True))
        return total / sum(self._weights)

    def _by_name(self, row: Sequence[Verdict]) -> dict[str, float]:
        return {
            name: score_of(verdict)
            for name, verdict in zip(self._verifiers, row, strict=True)
            if not verdict.silent
        }

    def _missing(self, rows: Sequence[Sequence[Verdict]]) -> AbstainedError:
        """It names the verifiers but not their reasons, which may quote an answer."""
        names = [
            name
            for column, name in enumerate(self._verifiers)
            if any(row[column].silent for row in rows)
        ]
        return AbstainedError(f"verifiers abstained: {', '.join(names)}")
