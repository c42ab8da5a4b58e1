"""Draw candidates at once, and stop those that fall behind: the reward of best-of-N for less.

While they grow, the reward model reads what they have said so far. At each checkpoint each has a
chance to become the best, given its partial reward, how far partial rewards tell the final ones,
and the best candidate that has ended. Those with little chance are stopped, at the engine too
(speculative rejection, arXiv:2410.20290). Only candidates that have ended may win. To make up for a
best one that is stopped now and then, more than `n` are started.

It helps where long answers show early what they are worth. In simulation, with a correlation of
sqrt(f) after a share f of an answer, it generates 0.54 of the tokens of best-of-16 for 0.99 of its
reward, or 0.58 with those that the reward model reads, each at a tenth of a generated one. With
`wave` it is 0.51 and 0.56 for all of the reward, in 1.5 rounds (docs/benchmarks.md). It needs a
reward model that makes sense of half an answer. Where that does not, pruning is off: how well
partial rewards tell the final ones is learnt from each served model's own requests, the first 50
and then one of 50, whose candidates are all scored at all checkpoints and stopped at none. It harms
where the reward model is slow beside the policy, because it reads an answer several times.

It is `best_of_n` while too little is known, and wherever pruning would change what a candidate is:
with tools and structured output, and where the policy cannot show unfinished answers (a reasoning
parser). The answer's `pruning` says why.
"""

from __future__ import annotations

import logging
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from bon_common.selection.adaptive.stopping import PriceRule
from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.pruning.probes import PairSums
from bon_common.selection.pruning.rule import Standing, to_stop
from bon_common.selection.pruning.started import PruningPlan, plan
from bon_common.selection.spread import is_computable
from bon_gateway.protocols import PolicyBackend, RewardBackend, RewardHistory, Trace
from bon_gateway.strategies.adaptive import AllAtOnce, learn_whole_draw
from bon_gateway.strategies.checkpoints import Looking
from bon_gateway.strategies.pool import Guidance, PoolStrategy
from bon_gateway.strategies.pruned_waves import PrunedWaves
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.types import (
    Candidate,
    CandidateStatus,
    ChatRequest,
    Pruning,
    Selection,
    Tier,
)

PROBED = 0.02
"""Share of requests that are probes once enough is known."""
WITH_WAVES = 0.7
"""The least chance with waves, times ``n``."""
MORE = 16
"""With waves the price is that of an ``n`` larger by one in 16: what a further wave brings makes up
for best candidates that were stopped. Both were chosen in simulations, as in ``started``."""
STRUCTURED = ("response_format", "structured_outputs")

_log = logging.getLogger(__name__)


class PruningSettings(DrawSettings):
    type: Literal["pruning"]
    n: PositiveInt = 8
    """The target: it spends as little as gives the reward of ``best_of_n`` with this ``n``."""
    cap: PositiveInt | None = None
    """Most candidates that one request may start, at least ``n``. None is 3/8 above ``n``, or with
    ``wave`` twice ``n``, and so it is for a request that sets another ``n``. Fewer are started if
    the first checkpoint that tells enough comes late in the answers."""
    checkpoints: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=16)] = (
        *(32, 64, 128, 256, 512, 1024, 2048),
    )
    """Generated tokens at which candidates are looked at, ascending. Some should lie in the first
    half of your answers. vLLM tells of 16 tokens at a time."""
    least_correlation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Correlation of partial and final rewards below which nobody is stopped at a checkpoint, and
    nothing is scored there."""
    least_chance: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Candidates with less chance to become the best are stopped. None follows from ``n`` and
    ``cap``, so that the reward is that of ``best_of_n``. Raise it to spend less for less."""
    wave: PositiveInt | None = None
    """Candidates drawn at a time after the first wave. It draws no further wave when another
    candidate is not worth its price, as ``adaptive`` does: that spends less, and takes longer. None
    draws all at once."""
    first_wave: PositiveInt | None = None
    """Candidates of the first wave, with ``wave``; None is 3/4 of ``n``."""

    follow_n: ClassVar[tuple[str, ...]] = ("cap",)

    @property
    def drawn(self) -> int:
        if self.cap is not None:
            return self.cap
        return self.n + math.ceil(3 * self.n / 8) if self.wave is None else 2 * self.n

    @property
    def looks_at(self) -> tuple[int, ...]:
        return self.checkpoints

    @field_validator("cap")
    @classmethod
    def _at_least_n(cls, cap: int | None, info: ValidationInfo) -> int | None:
        n = info.data.get("n")
        if cap is not None and n is not None and cap < n:
            raise ValueError(f"must be at least n ({n}), got {cap}")
        return cap

    @field_validator("checkpoints")
    @classmethod
    def _ascending(cls, checkpoints: tuple[int, ...]) -> tuple[int, ...]:
        if list(checkpoints) != sorted(set(checkpoints)):
            raise ValueError(f"must ascend, got {list(checkpoints)}")
        return checkpoints

    def lowered(self, most: int) -> dict[str, int]:
        return {"cap": most, "n": min(self.n, most)}

    needs_steady_rewards: ClassVar[bool] = True

    def build(self, referee: Referee) -> PruningStrategy:
        return PruningStrategy(self, referee)


@dataclass(frozen=True, slots=True)
class PruningStrategy(PoolStrategy):
    settings: PruningSettings

    def guidance(self, request: ChatRequest, policy: PolicyBackend, trace: Trace) -> Guidance:
        settings, history, waves = self.settings, trace.history, self._waves(request)
        if waves is None:
            return Guidance(None, self._looking(request, history, settings.n))
        if history is None:
            return Guidance(PrunedWaves(settings.n, waves), self._looking(request, None))
        whole = history.learns(settings.drawn)
        price = None if whole else self._price_rule(waves, history)
        looking = self._looking(request, history)
        if price is None and looking.state in (Pruning.ON, Pruning.OFF):
            # While it is not known when to stop drawing, all run to their end.
            looking = Looking(Pruning.LEARNING)
        if whole:
            return Guidance(AllAtOnce(settings.drawn), looking)
        if looking.state in (Pruning.LEARNING, Pruning.PROBING):
            return Guidance(PrunedWaves(settings.n, waves), looking)
        planned = self._plan(history)
        fits = {} if planned is None else planned.fits
        return Guidance(PrunedWaves(settings.n, waves, price, fits), looking)

    def _looking(
        self, request: ChatRequest, history: RewardHistory | None, n: int | None = None
    ) -> Looking:
        """``n`` is how many candidates best-of-n starts; None leaves that to the waves."""
        settings = self.settings
        if _formed(request):
            return Looking(Pruning.FORM, n)
        if history is None:
            return Looking(Pruning.LEARNING, n)
        if not history.probes.enough:
            return Looking(Pruning.LEARNING, n, settings.checkpoints)
        planned = self._plan(history)
        if history.probes.switches(pruning=planned is not None):
            _log_switch(request, history, planned)
        # Not the request's id alone, because a replay asks under one id many times.
        if random.Random(f"{request.request_id} {request.seed} probe").random() < PROBED:
            return Looking(Pruning.PROBING, n, settings.checkpoints)
        if planned is None:
            return Looking(Pruning.OFF, n)
        started = None if n is None else planned.started
        return Looking(Pruning.ON, started, sorted(planned.fits), partial(_named, planned))

    def _waves(self, request: ChatRequest) -> Waves | None:
        settings = self.settings
        if settings.wave is None:
            return None
        first = settings.first_wave or math.ceil(3 * settings.n / 4)
        return Waves(max(first, request.top, 2), settings.wave, cap=settings.drawn)

    def _price_rule(self, waves: Waves, history: RewardHistory) -> PriceRule | None:
        """None if too little is known yet."""
        price = history.price(waves, self.settings.n + math.ceil(self.settings.n / MORE))
        model = history.model
        return None if price is None or model is None else PriceRule(model, price)

    def _plan(self, history: RewardHistory) -> PruningPlan | None:
        settings, tokens = self.settings, history.probes.tokens
        if tokens is None:
            return None
        spare, least_chance = settings.drawn - settings.n, settings.least_chance
        if settings.wave is not None:
            # Waves make up for a best candidate that was stopped: they draw on where none is good.
            spare, least_chance = 0, least_chance or WITH_WAVES / settings.n
        fits = history.probes.fits
        return plan(
            {point: fits[point] for point in settings.checkpoints if point in fits},
            tokens,
            n=settings.n,
            spare=spare,
            least_correlation=settings.least_correlation,
            least_chance=least_chance,
        )

    async def run(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        trace: Trace,
    ) -> Selection:
        selection = await PoolStrategy.run(self, request, policy, reward, trace)
        history = trace.history
        # At a deadline only the short answers have a final reward.
        if history is not None and not selection.degraded and self._probed(selection, history):
            ended = [c for c in selection.candidates if c.completion is not None]
            sums = sums_of(selection.candidates)
            history.add_probe(sums, len(ended), sum(c.tokens for c in ended))
        if history is not None:
            learn_whole_draw(selection, history)
        return selection

    def _probed(self, selection: Selection, history: RewardHistory) -> bool:
        """Whether all ran to their end and were looked at. What was stopped has no final reward."""
        if selection.pruning is Pruning.PROBING:
            return True
        # Once enough is known, a request that was not looked at, or showed nothing, tells nothing.
        # Until then it must count, or it would be learnt for ever that there is nothing to see.
        unknown = selection.pruning in (Pruning.LEARNING, Pruning.UNSEEN)
        return unknown and not history.probes.enough


def sums_of(candidates: Sequence[Candidate]) -> dict[int, PairSums]:
    """The pairs of partial and final rewards, by checkpoint, of those that ended with an answer."""
    pairs: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for candidate in candidates:
        whole = candidate.status is CandidateStatus.FINISHED and candidate.tier is Tier.ANSWER
        reward = candidate.reward
        if whole and reward is not None and is_computable(reward):
            for checkpoint, partial_reward in candidate.partial_rewards:
                pairs[checkpoint].append((partial_reward, reward))
    return {checkpoint: PairSums.of(own) for checkpoint, own in sorted(pairs.items())}


def _named(
    planned: PruningPlan, checkpoint: int, standing: Standing, most: int
) -> Sequence[int] | None:
    """The ``PruningRule`` of a request."""
    return to_stop(standing, planned.fits[checkpoint], planned.least_chance, most)


def _formed(request: ChatRequest) -> bool:
    sampling = request.sampling
    tools = sampling.get("tools") and sampling.get("tool_choice") != "none"
    return bool(tools) or any(_asks_for_form(sampling.get(name)) for name in STRUCTURED)


def _asks_for_form(value: object) -> bool:
    return value is not None and value != {"type": "text"}


def _log_switch(request: ChatRequest, history: RewardHistory, planned: PruningPlan | None) -> None:
    fits = history.probes.fits
    fields = {
        "request_id": request.request_id,
        "correlations": {str(point): round(fit.correlation, 3) for point, fit in fits.items()},
    }
    told = "partial rewards do not tell enough, so nothing partial is scored"
    if planned is not None:
        told = f"candidates may be stopped at {sorted(planned.fits)} tokens"
    _log.info(
        "pruning is %s: %s", "off" if planned is None else "on", told, extra={"fields": fields}
    )
