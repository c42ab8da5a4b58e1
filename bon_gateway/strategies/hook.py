"""Draw N candidates and let a function of the operator's choose among them.

It helps where the right answer can be found without a reward model, or not by the reward alone: a
vote among final answers, tests that code has to pass, a limit on length. It harms where the
function is slow: it runs in the gateway's event loop, and every other request waits meanwhile. A
function that waits for something should be ``async``.

The function is called with the request and the candidates that may win, ``ChatRequest`` and
``Candidate`` of ``bon_gateway.types``, scored if the served model has a reward model. It returns
the place of the winner in that list, or several places, best first. The other candidates follow in
the order of ``best_of_n``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from bon_common.hooks import HookName, load_hook
from bon_gateway.errors import GatewayError
from bon_gateway.strategies.decide import contenders, led_by
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.types import Candidate, ChatRequest
from bon_gateway.unexpected import log_unexpected

ARGUMENTS = ("request", "candidates")
_log = logging.getLogger(__name__)


class HookStrategySettings(DrawSettings):
    type: Literal["hook"]
    function: HookName
    """``package.module:function``, called with the request and the candidates that may win. It
    returns the winner's place among them, or several places, best first. Only the settings file may
    name it."""

    needs_reward: ClassVar[bool] = False
    by_request: ClassVar[bool] = False

    def check(self) -> None:
        load_hook(self.function, *ARGUMENTS)

    def build(self, referee: Referee) -> HookStrategy:
        return HookStrategy(self, referee, function=load_hook(self.function, *ARGUMENTS))


@dataclass(frozen=True, slots=True)
class HookStrategy(PoolStrategy):
    settings: HookStrategySettings
    function: Callable[..., Any] = field(kw_only=True)

    async def order(self, request: ChatRequest, candidates: Sequence[Candidate]) -> Sequence[int]:
        """Raises GatewayError if the function fails."""
        found = sorted(contenders(candidates))
        if not found:
            return ()
        try:
            chosen = self.function(request, [candidates[position] for position in found])
            if inspect.isawaitable(chosen):
                chosen = await chosen
            best = [found[place] for place in _places(chosen, len(found))]
        except Exception as error:
            fields = {"request_id": request.request_id, "function": self.settings.function}
            log_unexpected(_log, "the function that chooses the winner failed", error, fields)
            raise GatewayError("the winner could not be chosen") from error
        return led_by(best, candidates)


def _places(chosen: Any, count: int) -> list[int]:
    """Raises ValueError unless ``chosen`` is one or more different places in ``count``."""
    places = [chosen] if isinstance(chosen, int) else list(chosen)
    if not places or len(set(places)) < len(places):
        raise ValueError(f"it returned {chosen!r}: each place once, and at least one")
    for place in places:
        if not isinstance(place, int) or not 0 <= place < count:
            raise ValueError(f"it returned {chosen!r}: places are from 0 to {count - 1}")
    return places
