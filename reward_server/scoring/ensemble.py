"""Several reward models that are asked together and answer as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bon_common.ensemble import PENALISED, combine
from bon_common.together import together
from reward_server.errors import StartupError
from reward_server.info import EnsembleInfo
from reward_server.model_settings import EnsembleSettings, Normalisation
from reward_server.schema import (
    ItemResult,
    PrefixResponse,
    ScoreResponse,
    ScoreTimings,
    ScoreUsage,
)
from reward_server.scoring.scorer import DEFAULT_OPTIONS, Scorable, ScoreOptions, Scorer
from reward_server.scoring.turns import Messages, Tools


class EnsembleScorer:
    """Scores as a `Scorer` does. Each member has its own queue and limits."""

    def __init__(
        self, name: str, members: Mapping[str, Scorer], settings: EnsembleSettings
    ) -> None:
        """Raises StartupError for a member of unknown mean and spread."""
        self._members = {member: members[member] for member in settings.members}
        self._how, self._penalty = settings.combine, settings.penalty
        self._spread = {
            member: settings.normalisation.get(member) or _spread(scorer)
            for member, scorer in self._members.items()
        }
        self.info = EnsembleInfo(
            name=name,
            members=settings.members,
            combine=settings.combine,
            max_tokens=min(scorer.info.max_tokens for scorer in self._members.values()),
            penalty=settings.penalty if settings.combine in PENALISED else None,
        )

    async def score(
        self, items: Sequence[Scorable], options: ScoreOptions = DEFAULT_OPTIONS
    ) -> ScoreResponse:
        """One member that fails fails the call; see `Scorer.score`."""
        results = await together(scorer.score(items, options) for scorer in self._members.values())
        by_member = dict(zip(self._members, results, strict=True))
        return ScoreResponse(
            model=self.info.name,
            results=[
                self._joined({name: r.results[i] for name, r in by_member.items()})
                for i in range(len(items))
            ],
            usage=ScoreUsage(
                sequences=sum(result.usage.sequences for result in results),
                tokens=sum(result.usage.tokens for result in results),
            ),
            timings_ms=ScoreTimings(
                queue=max(result.timings_ms.queue for result in results),
                model=max(result.timings_ms.model for result in results),
            ),
        )

    async def announce(
        self, messages: Messages, tools: Tools = None, *, request_id: str | None = None
    ) -> PrefixResponse:
        announced = await together(
            scorer.announce(messages, tools, request_id=request_id)
            for scorer in self._members.values()
        )
        return PrefixResponse(
            model=self.info.name,
            tokens=max(one.tokens for one in announced),
            kept=any(one.kept for one in announced),
        )

    def _joined(self, results: Mapping[str, ItemResult]) -> ItemResult:
        standard = {
            name: [(reward - self._spread[name].mean) / self._spread[name].std
                   for reward in result.rewards]
            for name, result in results.items()
        }  # fmt: skip
        candidates = list(zip(*standard.values(), strict=True))
        several = list(results.values())
        return ItemResult(
            rewards=[combine(values, self._how, self._penalty) for values in candidates],
            tokens=[max(tokens) for tokens in zip(*(r.tokens for r in several), strict=True)],
            truncated=[any(cut) for cut in zip(*(r.truncated for r in several), strict=True)],
            labels=standard,
        )


def _spread(scorer: Scorer) -> Normalisation:
    name, known = scorer.info.name, scorer.info.normalisation or {}
    mean, std = known.get("mean"), known.get("std")
    if not isinstance(mean, int | float) or not isinstance(std, int | float) or std <= 0:
        raise StartupError(
            "normalisation", f"the folder of {name!r} does not state its mean and spread; set them"
        )
    return Normalisation(mean=mean, std=std)
