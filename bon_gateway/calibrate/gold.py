"""Gold from a function of the user's own, for candidates that have none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import msgspec

from bon_common.hooks import load_number_hook
from bon_common.settings.errors import SettingsError
from bon_gateway.compare.settings import HookSettings
from bon_gateway.replay.log import RecordedCandidate
from bon_gateway.replay.pools import PoolSet, PromptPool
from bon_gateway.strategies.conversation import answer_text
from bon_gateway.strategies.prefill import Prefill

KEY = "gold_by.function"


def with_gold(found: PoolSet, settings: HookSettings) -> PoolSet:
    """Raises SettingsError for a function that cannot be used, or that fails at an answer."""
    judge = load_number_hook(settings.function, settings.field, "messages", "answer", key=KEY)
    return replace(found, pools=[_judged(pool, judge, settings.function) for pool in found.pools])


def with_reward_as_gold(found: PoolSet, name: str) -> PoolSet:
    """Raises SettingsError if no candidate has this entry in its ``rewards``."""
    if not any(name in one.rewards for pool in found.pools for one in pool.candidates):
        raise SettingsError("settings", "gold_reward", f"no candidate has a reward {name!r}")
    return replace(
        found,
        pools=[
            replace(
                pool,
                candidates=[
                    one
                    if one.gold is not None
                    else msgspec.structs.replace(one, gold=one.rewards.get(name))
                    for one in pool.candidates
                ],
            )
            for pool in found.pools
        ],
    )


def _judged(pool: PromptPool, judge: Callable[..., float], name: str) -> PromptPool:
    prefill, known = Prefill.of(pool.request), dict[str, float]()

    def gold(one: RecordedCandidate) -> float:
        text = answer_text(one.message or {}, None, prefill)
        if text not in known:
            try:
                known[text] = judge(pool.request.messages, text)
            except Exception as error:
                # It is the user's code, which may raise anything.
                reason = f"{name}: raised {type(error).__name__} at {pool.place}: {error}"
                raise SettingsError("settings", KEY, reason) from error
        if not math.isfinite(known[text]):
            reason = f"{name}: returned {known[text]} at {pool.place}"
            raise SettingsError("settings", KEY, reason)
        return known[text]

    return replace(
        pool,
        candidates=[
            one if one.gold is not None else msgspec.structs.replace(one, gold=gold(one))
            for one in pool.candidates
        ],
    )
