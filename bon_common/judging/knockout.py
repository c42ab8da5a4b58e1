"""A knockout tournament: the loser of each comparison is out.

The bracket is random, and the same for the same ``random``. If the number of answers is odd, one
has a bye and is paired first in the next round.

N answers take N - 1 comparisons plus ``repeats``, in ceil(log2 N) rounds. The comparisons of a
round run at the same time. If the judge is right in a share q of the comparisons, the best of
N = 2^k answers wins with probability q^k.

- Tie: the answer that stands first in the bracket goes on. The index must not decide here: then low
  indices would survive more often by ties, and be worse. If the final is a tie, both have equal
  rewards; if there were only ties, all answers have.
- Abstention: an answer without any verdict so far goes on once and meets another answer; the second
  time it is out without a reward. This adds at most N comparisons. If both answers had verdicts
  before, an abstention is a tie.
- Limit: with fewer than N - 1 comparisons only some answers take part, chosen by ``random``. The
  others have no reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from bon_common.judging.matches import Ask, Matches
from bon_common.judging.pairs import TIE
from bon_common.judging.shares import shares

Place = tuple[int, float]
"""The round that an answer reached, and how narrowly it lost there. Higher is better."""


async def knockout(
    count: int, ask: Ask, random: Random, *, limit: int | None = None, repeats: int = 0
) -> list[float | None]:
    """The reward of each answer, see ``shares``. ``limit`` caps all comparisons."""
    matches = Matches(ask, most_comparisons(count, repeats) if limit is None else limit)
    players = random.sample(range(count), min(count, matches.left + 1))
    spare = min(repeats, matches.left - (len(players) - 1))
    bracket = Bracket(matches, players, spare)
    await bracket.run()
    places = bracket.places()
    return shares([places.get(index) for index in range(count)])


def most_comparisons(count: int, repeats: int = 0) -> int:
    """The most comparisons, including those that abstentions may add."""
    return 2 * count - 1 + repeats


class Bracket:
    """Runs the rounds, and keeps the round in which each answer left."""

    def __init__(self, matches: Matches, players: Sequence[int], repeats: int = 0) -> None:
        self._matches = matches
        self.alive = list(players)
        """Answers that are still in, in the order of pairing."""
        self._repeats = repeats
        self._round = 0
        self._excused: set[int] = set()
        """Answers that went on without a verdict."""
        self._left: dict[int, Place] = {}
        self._decided = False
        """Whether any verdict was not a tie."""

    async def run(self) -> None:
        while len(self.alive) > 1 and self._matches.left:
            await self._play()

    async def _play(self) -> None:
        self._round += 1
        pairs = list(zip(self.alive[::2], self.alive[1::2], strict=False))
        allowed = self._matches.left
        await self._matches.play(pairs)
        # Each round left gets an equal share: the last ones have few matches, which all count.
        rounds = (len(self.alive) - 1).bit_length()
        share = -(-self._repeats // rounds)
        self._repeats -= share
        await self._matches.repeat(pairs, share)
        bye = self.alive[2 * len(pairs) :]
        stayed = [self._decide(*pair) for pair in pairs[:allowed]]
        unasked = [player for pair in pairs[allowed:] for player in pair]
        # The second ones go to the end, so that a pair does not meet again at once.
        firsts, seconds = [own[0] for own in stayed if own], [p for own in stayed for p in own[1:]]
        self.alive = [*bye, *firsts, *unasked, *seconds]

    def _decide(self, one: int, other: int) -> list[int]:
        """The answers of this pair that go on."""
        preference = self._matches.preference(one, other)
        if preference is None:
            return self._without_verdict(one, other)
        self._decided = self._decided or preference != TIE
        loser, stays = (one, other) if preference < TIE else (other, one)
        self._left[loser] = (self._round, -abs(preference - TIE))
        return [stays]

    def _without_verdict(self, one: int, other: int) -> list[int]:
        if self._matches.judged(one) and self._matches.judged(other):
            self._left[other] = (self._round, 0.0)
            return [one]
        stays = [p for p in (one, other) if self._matches.judged(p) or p not in self._excused]
        self._excused.update(p for p in stays if not self._matches.judged(p))
        return stays

    def places(self) -> dict[int, Place]:
        """The place of each answer that has a verdict. All answers left at the end share the first
        place, and so does one that tied with the last of them."""
        judged = [player for player in self.alive if self._matches.judged(player)]
        first, level = (self._round + 1, 0.0), (self._round, 0.0)
        found = dict.fromkeys(judged, first)
        for loser, place in self._left.items():
            found[loser] = first if place == level else place
        return found if self._decided else dict.fromkeys(found, first)
