"""What a reader of a replay must know before the figures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bon_gateway.replay.columns import PromptGroups
from bon_gateway.replay.drive import Replayed
from bon_gateway.replay.pools import PoolSet
from bon_gateway.replay.results import ReplayRow
from bon_gateway.types import CandidateStatus


def warnings_of(
    pools: PoolSet,
    groups: PromptGroups,
    rows: Sequence[ReplayRow],
    base: Sequence[Sequence[Replayed]],
) -> Iterator[str]:
    """``base`` are the replays of the row with which all are compared."""
    yield from _left_out(pools)
    yield from _unknown(groups)
    changed = sum(one.changed for own in base for one in own)
    if changed:
        drawn = sum(one.drawn for own in base for one in own)
        yield (
            f"{changed} of {drawn} draws of plain best-of-N are judged differently than when they"
            " were recorded: the log may lack the requests' parameters, or thinking is not set."
        )
    greedy = sum(pool.request.greedy for pool in pools.pools)
    if greedy:
        yield f"{greedy} requests were recorded at temperature 0: there, one candidate is drawn."
    for row in rows:
        if row.failed:
            yield f"{row.name}: {row.failed} replays ended in an error."
        if row.degraded:
            codes = ", ".join(f"{count} {code}" for code, count in row.degraded.items())
            yield f"{row.name}: replays that lost something: {codes}."


def _left_out(pools: PoolSet) -> Iterator[str]:
    for reason, count in pools.other_requests.items():
        yield f"{count} requests {reason} were left out."
    yield from left_out_candidates(pools)
    if pools.invalid:
        yield f"{pools.invalid} candidates recorded as invalid are drawn, and judged again."


def left_out_candidates(pools: PoolSet) -> Iterator[str]:
    """Warnings about candidates that no strategy may draw."""
    for reason, count in pools.left_out.items():
        yield f"{count} candidates recorded as {reason} were left out: they have no whole answer."
    if pools.left_out.get(CandidateStatus.REJECTED.value):
        yield (
            "Rejected candidates were the slow ones, so these pools lack long answers. Record with"
            " best_of_n and without a deadline."
        )


def of_comparing(rewards: Iterable[str]) -> Iterator[str]:
    """Warnings about rewards that only compare the answers of one call."""
    for name in rewards:
        yield (
            f"The reward {name} only compares the answers of one call. Here it has compared all"
            " candidates of a request; where fewer are drawn, a gateway compares only these. Its"
            " numbers do not compare across requests."
        )


def _unknown(groups: PromptGroups) -> Iterator[str]:
    prompts = len(groups.members)
    for what, known in (("reward", groups.with_reward), ("gold", groups.with_gold)):
        if known and len(known) < prompts:
            yield (
                f"The {what} of answers is compared at {len(known)} of {prompts} prompts; at the"
                " others it is not known of every candidate."
            )
    if not groups.with_reward:
        yield (
            "No prompt has the rewards of all its candidates. Strategies that choose by reward do"
            " what they do when the reward model does not answer."
        )
