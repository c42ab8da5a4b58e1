"""A pivot tournament: all answers meet one good answer, then the best meet each other.

1. The pivot is the winner of a small knockout among ceil(log2 N) random answers.
2. Every other answer is compared with it, unless they have met.
3. The best answers are the finalists, as many as the limits allow: each meets each.
4. ``repeats`` more comparisons go to the finalists with the smallest margins that could still
   change who is first.

There are at most N * ceil(log2 N) + ``repeats`` comparisons. Step 3 ends at this number, at
``limit`` or at ``finalists``, whichever comes first. No pair is asked twice before step 4.

- Tie: it counts as half a win. The order of the finalists is their mean preference in the final,
  then the preference over the pivot. If nothing tells answers apart, their rewards are equal.
- Abstention: an answer without a verdict against the pivot meets another answer once. If there is
  still no verdict, it has no reward. In the final a missing verdict counts as a tie.
- Limit: with fewer than 2 (N - 1) comparisons too few are left for a final. Then, unless they are
  enough for all pairs, only some answers take part, chosen by ``random``. The others have no
  reward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from random import Random
from statistics import fmean

from bon_common.judging.knockout import Bracket
from bon_common.judging.matches import Ask, Matches
from bon_common.judging.pairs import TIE
from bon_common.judging.shares import shares


async def pivot(
    count: int,
    ask: Ask,
    random: Random,
    *,
    limit: int | None = None,
    repeats: int = 0,
    finalists: int | None = None,
    seeds: int | None = None,
) -> list[float | None]:
    """The reward of each answer, see ``shares``. ``finalists`` is the largest number of finalists;
    None takes as many as the comparisons allow. ``seeds`` takes the place of ceil(log2 N)."""
    most = most_comparisons(count, repeats)
    matches = Matches(ask, most if limit is None else min(limit, most))
    players = random.sample(range(count), min(count, _most_players(matches.left)))
    if not players:
        return []
    most_seeds = (len(players) - 1).bit_length() if seeds is None else seeds
    against = await _against_the_pivot(matches, players, most_seeds)
    # A stable sort: equal ones stay in their random order, and the lower index has no advantage.
    ordered = sorted(against, key=lambda player: -against[player])
    spare = max(0, min(repeats, matches.left))
    final = _reachable(matches, ordered[:finalists], matches.left - spare)
    pairs = list(combinations(final, 2))
    await matches.play([pair for pair in pairs if not matches.met(*pair)])
    await _repeat(matches, final, spare, against)
    keys = _keys(matches, final, against)
    return shares([keys.get(index) for index in range(count)])


def most_comparisons(count: int, repeats: int = 0) -> int:
    return count * (count - 1).bit_length() + repeats


def _most_players(limit: int) -> int:
    """Number of answers for which this many comparisons are enough: for all pairs, or for every
    answer against the pivot and the same number among the best."""
    by_pairs = (1 + math.isqrt(1 + 8 * limit)) // 2
    return max(by_pairs, limit // 2 + 1)


async def _against_the_pivot(
    matches: Matches, players: Sequence[int], seeds: int
) -> dict[int, float]:
    """The preference for each player over the pivot, in the order of ``players``. The pivot itself
    counts as a tie; players without any verdict are left out."""
    if seeds - 1 + len(players) - 1 > matches.left:
        seeds = 1
    bracket = Bracket(matches, players[:seeds])
    await bracket.run()
    # Without a verdict on any of the seeds the next one is the pivot.
    one = (*bracket.alive, *players[seeds:], *players)[0]
    await _meet(matches, one, players)
    unjudged = [player for player in players if not matches.judged(player)]
    if not unjudged:
        return {player: _over(matches, player, one) for player in players}
    others = [player for player in players if player != one]
    # The best of those that have a verdict, or anyone if none has.
    best = max(others, key=lambda p: (matches.judged(p), _over(matches, p, one)), default=one)
    await _meet(matches, best, unjudged)
    if not matches.judged(one):
        one = best
    judged = [player for player in players if matches.judged(player)]
    return {player: _by_way_of(matches, player, best, one) for player in judged}


async def _meet(matches: Matches, one: int, players: Sequence[int]) -> None:
    await matches.play([(p, one) for p in players if p != one and not matches.asked(p, one)])


def _over(matches: Matches, player: int, one: int) -> float:
    known = TIE if player == one else matches.preference(player, one)
    return TIE if known is None else known


def _by_way_of(matches: Matches, player: int, best: int, one: int) -> float:
    """The preference over ``one``. A player that met only ``best`` instead is placed no higher than
    that."""
    if matches.met(player, one) or not matches.met(player, best):
        return _over(matches, player, one)
    return min(_over(matches, player, best), _over(matches, best, one))


def _reachable(matches: Matches, ordered: Sequence[int], allowed: int) -> list[int]:
    """The first players, as many as can all meet each other in ``allowed`` comparisons."""
    final: list[int] = []
    for player in ordered:
        allowed -= sum(not matches.met(player, other) for other in final)
        if allowed < 0:
            break
        final.append(player)
    return final


def _standing(matches: Matches, player: int, final: Sequence[int]) -> float:
    """The mean preference over the other finalists."""
    others = [other for other in final if other != player]
    return fmean([_over(matches, player, other) for other in others]) if others else TIE


async def _repeat(
    matches: Matches, final: Sequence[int], times: int, against: dict[int, float]
) -> None:
    """Ask again about pairs that are close to the first place: no other pair changes who wins."""
    while times > 0 and len(final) > 1:
        standing = {
            player: (_standing(matches, player, final), against[player]) for player in final
        }
        first, *rivals = sorted(final, key=lambda player: standing[player], reverse=True)
        near = rivals[: (times + 1) // 2]
        again = [(first, rival) for rival in near]
        times -= len(again)
        await matches.play(again)


def _keys(
    matches: Matches, final: Sequence[int], against: dict[int, float]
) -> dict[int, tuple[bool, float, float]]:
    standings = {player: _standing(matches, player, final) for player in final}
    if len({*standings.values()}) < 2:
        # The final told no players apart, so it must not set them apart from the others either.
        return {player: (False, 0.0, own) for player, own in against.items()}
    return {
        player: (player in standings, standings.get(player, 0.0), own)
        for player, own in against.items()
    }
