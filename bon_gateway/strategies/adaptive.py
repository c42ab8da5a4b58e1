"""Draw in waves until another candidate is not worth its price: the reward of best-of-N for less.

After each wave it asks what one more candidate is expected to add to the best so far. It goes on
as long as that is above a price, up to `cap`. What a candidate adds it learns from earlier requests
of the same served model (`history`): from how the rewards spread, how far the best leads, and how
often equal rewards came. The price follows from `n`: with it, the mean reward of those requests is
that of `best_of_n` with this `n`. For this `cap` must be above `n`: what one request saves, another
spends.

It helps where candidates are the cost, and most where answers repeat: on short answers of a small
real model it needs 0.57 of the tokens of best-of-16 in 2.2 rounds, with no less gold
(docs/strategies.md). In simulation, after 128 requests to learn from and at the reward of
best-of-16, it needs 0.79 of the candidates in 3.1 rounds where rewards are Gaussian (0.81 in 2.3
with `first_wave: 8`), 0.75 where they are exponential, and 0.85 where they are uniform. Where the
spread differs much between prompts it saves little (0.92 in 3.7), and where rewards have an upper
end that most answers come near, nothing (1.00 in 4.0). It harms where latency counts, because waves
come one after the other. Try it with `bon-gateway replay` on your own candidate log first.

It learns from requests that draw `cap` candidates at once: the first 128, and later one in 128.
These cost more than `best_of_n` and answer no worse. Until it knows enough, and where a request's
rewards say nothing because some are missing, it draws as `best_of_n`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt, ValidationInfo, field_validator

from bon_common.selection.adaptive.stopping import PriceRule
from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.spread import is_computable
from bon_gateway.protocols import PolicyBackend, RewardBackend, RewardHistory, Trace
from bon_gateway.strategies.decide import contenders
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.strategies.waves import NextWave, WaveRule
from bon_gateway.types import Candidate, ChatRequest, Selection, Stopped


class AdaptiveStrategySettings(DrawSettings):
    type: Literal["adaptive"]
    n: PositiveInt = 8
    """The target: it spends as little as gives the reward of ``best_of_n`` with this ``n``."""
    cap: PositiveInt | None = None
    """Most candidates that one request may draw. It must be above ``n``, because prompts that gain
    from more candidates make up for those that stop early. None is twice ``n``, and so it is for a
    request that sets another ``n``. Above 128 it does not learn and draws as ``best_of_n``."""
    wave: PositiveInt = 4
    """Candidates drawn at a time. A larger wave means fewer rounds and more candidates."""
    first_wave: PositiveInt | None = None
    """Candidates of the first wave; None is ``wave``. Half of ``n`` saves a round on most requests
    and costs few candidates."""
    price_per_token: PositiveFloat | None = None
    """What a generated token is worth, in the reward model's own unit. It takes the place of the
    price that follows from ``n``. A candidate's price is this times the mean length of earlier
    candidates."""
    price_per_ms: PositiveFloat | None = None
    """What a millisecond of waiting is worth, in the reward model's own unit. It is added to the
    price of the candidates: a further wave is taken to last as long as the last one did, and its
    candidates share what that costs. So tokens alone do not decide where an engine draws many
    candidates in the time of one (arXiv 2509.09864). The reward falls below that of
    ``best_of_n``. None counts no time."""

    follow_n: ClassVar[tuple[str, ...]] = ("cap",)

    @property
    def drawn(self) -> int:
        return 2 * self.n if self.cap is None else self.cap

    @field_validator("cap")
    @classmethod
    def _above_n(cls, cap: int | None, info: ValidationInfo) -> int | None:
        n = info.data.get("n")
        if cap is not None and n is not None and cap <= n:
            raise ValueError(f"must be above n ({n}), got {cap}")
        return cap

    def lowered(self, most: int) -> dict[str, int]:
        # It has to stay below the cap.
        return {"cap": most, "n": min(self.n, most - 1)} if most > 1 else {}

    needs_steady_rewards: ClassVar[bool] = True

    def build(self, referee: Referee) -> AdaptiveStrategy:
        return AdaptiveStrategy(self, referee)


@dataclass(frozen=True, slots=True)
class AdaptiveStrategy(PoolStrategy):
    settings: AdaptiveStrategySettings

    def wave_rule(self, request: ChatRequest, policy: PolicyBackend, trace: Trace) -> WaveRule:
        settings, history = self.settings, trace.history
        if history is not None and history.learns(settings.drawn):
            return AllAtOnce(settings.drawn)
        waves = Waves(
            # One reward says nothing of how they vary.
            first=max(settings.first_wave or settings.wave, request.top, 2),
            size=settings.wave,
            cap=settings.drawn,
        )
        rule = self._price_rule(waves, history)
        return AdaptiveWaves(settings.n, waves, rule, settings.price_per_ms or 0.0)

    def _price_rule(self, waves: Waves, history: RewardHistory | None) -> PriceRule | None:
        """None if too little is known yet."""
        if history is None or history.model is None:
            return None
        per_token = self.settings.price_per_token
        if per_token is None:
            price = history.price(waves, self.settings.n)
        else:
            tokens = history.tokens
            price = None if tokens is None else per_token * tokens
        return None if price is None else PriceRule(history.model, price)

    async def run(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        trace: Trace,
    ) -> Selection:
        selection = await PoolStrategy.run(self, request, policy, reward, trace)
        if trace.history is not None:
            learn_whole_draw(selection, trace.history)
        return selection


@dataclass(frozen=True, slots=True)
class AllAtOnce:
    """One wave, from which others learn."""

    count: int

    async def __call__(self, candidates: Sequence[Candidate]) -> NextWave:
        return NextWave(self.count - len(candidates), Stopped.LEARNING)


@dataclass(slots=True)
class AdaptiveWaves:
    """The waves of one request. Without a ``rule`` it is best-of-``target``."""

    target: int
    waves: Waves
    rule: PriceRule | None
    price_per_ms: float = 0.0
    _began: float | None = field(init=False, default=None)
    """When the last wave began, by the loop's clock."""

    async def __call__(self, candidates: Sequence[Candidate]) -> NextWave:
        lasted_ms = self._last_wave_ms()
        drawn = len(candidates)
        rewards = telling([candidates[p] for p in contenders(candidates)])
        if self.rule is None or (drawn and rewards is None):
            return NextWave(max(0, self.target - drawn), Stopped.TARGET)
        following = self.waves.after(drawn)
        waiting = self.price_per_ms * lasted_ms / max(following, 1)
        if rewards is not None and not self.rule.worth_another(rewards, waiting):
            return NextWave(0, Stopped.PRICE)
        return NextWave(following, Stopped.CAP)

    def _last_wave_ms(self) -> float:
        before, self._began = self._began, asyncio.get_running_loop().time()
        return 0.0 if before is None else 1000 * (self._began - before)


def learn_whole_draw(selection: Selection, history: RewardHistory) -> None:
    """Remember a request that drew all at once for others to learn from."""
    if selection.stopped is not Stopped.LEARNING:
        return
    candidates = selection.candidates
    rivals = {p: candidates[p] for p in contenders(candidates)}
    if telling([*rivals.values()]) is not None:
        rewards = [rivals[p].reward if p in rivals else None for p in range(len(candidates))]
        history.add(rewards, sum(candidate.tokens for candidate in candidates))


def telling(rivals: Sequence[Candidate]) -> list[float] | None:
    """The rewards of those that may win; None if they say nothing of how rewards vary: fewer than
    two, or one that is missing or cannot be computed with."""
    rewards = [rival.reward for rival in rivals if rival.reward is not None]
    if len(rewards) < max(2, len(rivals)):
        return None
    return rewards if all(map(is_computable, rewards)) else None
