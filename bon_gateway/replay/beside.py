"""What stands beside the strategies: greedy decoding, random choice and the oracle. Pure.

Greedy and random choice show what choosing is worth at all, the oracle what is left for a better
reward model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import msgspec

from bon_common.best_of_n import best_of_n
from bon_common.settings.errors import SettingsError
from bon_gateway.replay.columns import (
    AnswerColumns,
    PromptGroups,
    Value,
    gold_of,
    known_values,
    reward_of,
)
from bon_gateway.replay.log import PlacedRequest, RecordedCandidate
from bon_gateway.replay.pools import PoolSet, PromptPool, prompt_key
from bon_gateway.strategies.decide import USABLE
from bon_gateway.types import GREEDY_BELOW


def greedy_answers(
    lines: Iterable[PlacedRequest], pools: PoolSet
) -> dict[bytes, RecordedCandidate]:
    """The first usable answer to each prompt, by ``prompt_key``.

    Raises SettingsError for answers that were drawn otherwise or by another policy, and if a prompt
    of the pools has none.
    """
    found: dict[bytes, RecordedCandidate] = {}
    for line in lines:
        recorded = line.request
        temperature = recorded.sampling.get("temperature")
        if temperature is not None and temperature >= GREEDY_BELOW:
            raise SettingsError(line.place, "", f"drawn at temperature {temperature:g}, not greedy")
        ours = (pools.source.policy, pools.source.policy_revision)
        if (recorded.policy, recorded.policy_revision) != ours:
            told = f"of policy {recorded.policy}, and the pools are of {ours[0]}"
            raise SettingsError(line.place, "", told)
        for one in recorded.candidates:
            if one.status in USABLE and one.message is not None:
                found.setdefault(prompt_key(recorded.messages), one)
                break
    missing = [pool for pool in pools.pools if pool.prompt not in found]
    if missing:
        raise SettingsError(
            "greedy", "", f"{len(missing)} of {len(pools.pools)} requests have no greedy answer,"
            f" the first is {missing[0].place}",
        )  # fmt: skip
    return found


def of_greedy(
    groups: PromptGroups, answers: Mapping[bytes, RecordedCandidate], token_s: float
) -> AnswerColumns:
    """``answers`` has the greedy answer to every prompt. One without a reward has that of the same
    message in its pool."""
    found = [_scored(pool, answers[pool.prompt]) for pool in groups.pools]

    def column(value: Value, prompts: frozenset[int]) -> list[float] | None:
        judged = [place for prompt in sorted(prompts) for place in groups.members[prompt]]
        known = {place: worth for place in judged if (worth := value(found[place])) is not None}
        if not judged or len(known) < len(judged):
            return None
        return groups.means([known.get(place, 0.0) for place in range(len(found))], prompts)

    return AnswerColumns(
        costs=_one_draw(groups, [one.tokens for one in found], token_s),
        rewards=column(reward_of, groups.with_reward),
        golds=column(gold_of, groups.with_gold),
        latencies_s=[one.tokens * token_s for one in found],
    )


def of_random(groups: PromptGroups, token_s: float) -> AnswerColumns:
    """One candidate at random, exactly: the mean over each pool. Those that may not win cost as
    much as any other, and are no answer."""

    def column(value: Value, prompts: frozenset[int]) -> list[float] | None:
        if not prompts:
            return None
        return groups.means([fmean(known_values(p, value) or [0.0]) for p in groups.pools], prompts)

    lengths = [fmean([one.tokens for one in pool.candidates]) for pool in groups.pools]
    return AnswerColumns(
        costs=_one_draw(groups, lengths, token_s),
        rewards=column(reward_of, groups.with_reward),
        golds=column(gold_of, groups.with_gold),
        latencies_s=[one.tokens * token_s for pool in groups.pools for one in pool.candidates],
    )


def of_oracle(groups: PromptGroups, base: AnswerColumns, n: int) -> AnswerColumns | None:
    """The best by gold of n candidates, exactly, at the price of ``base``. None without gold: by
    reward it is best-of-N itself."""
    if not groups.with_gold:
        return None

    def column(value: Value, prompts: frozenset[int]) -> list[float]:
        found = [0.0] * len(groups.pools)
        for place in (place for prompt in prompts for place in groups.members[prompt]):
            pool = groups.pools[place]
            size = min(n, len(pool.usable))
            found[place] = best_of_n(known_values(pool, gold_of), known_values(pool, value), size)
        return groups.means(found, prompts)

    comparable = bool(groups.with_reward) and groups.with_reward <= groups.with_gold
    return AnswerColumns(
        costs=base.costs,
        rewards=column(reward_of, groups.with_reward) if comparable else None,
        golds=column(gold_of, groups.with_gold),
        latencies_s=base.latencies_s,
    )


def _one_draw(
    groups: PromptGroups, lengths: Sequence[float], token_s: float
) -> dict[str, list[float]]:
    """The costs of one candidate for each pool, which nothing scores."""
    tokens = groups.means(lengths)
    ones, zeros = [1.0] * len(tokens), [0.0] * len(tokens)
    return {
        "drawn": ones,
        "rounds": ones,
        "tokens": tokens,
        "scored": zeros,
        "scored_tokens": zeros,
        "latency_s": [length * token_s for length in tokens],
    }


def _scored(pool: PromptPool, greedy: RecordedCandidate) -> RecordedCandidate:
    if greedy.reward is not None:
        return greedy
    for one in pool.usable:
        if one.message == greedy.message and one.reward is not None:
            return msgspec.structs.replace(greedy, reward=one.reward)
    return greedy
