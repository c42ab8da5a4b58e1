"""Looks at the candidates of one request while they grow, and stops those that a rule names.

A checkpoint is due when every candidate that still runs has passed it. What they said there is then
scored in one call, and the rule decides at once about all of them, so that no order of arrival
matters. Generation goes on meanwhile. A candidate that was asked for again after a failure is
behind the others: nobody waits for it, and it is never stopped.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec

from bon_common.selection.pruning.rule import Standing
from bon_common.selection.spread import is_computable
from bon_gateway.strategies.arrivals import Arrivals
from bon_gateway.strategies.scoring import Scoring
from bon_gateway.types import PRUNED, CandidateStatus, Message, Pruning, Tier

PruningRule = Callable[[int, Standing, int], Sequence[int] | None]
"""Takes the checkpoint, how the candidates stand there, and how many may be stopped at most. Gives
the indices of those to stop; None if their partial rewards say nothing. It is pure."""


class Looking(msgspec.Struct, frozen=True):
    """How the candidates of one request are looked at before their end."""

    state: Pruning
    started: int | None = None
    """How many candidates to start; None leaves that to the waves."""
    checkpoints: Sequence[int] = ()
    """See ``Watch.checkpoints``; empty looks at nothing."""
    rule: PruningRule | None = None
    """None scores what is seen and stops nobody."""


class CandidateWatch:
    """The ``Watch`` of one request. At least ``keep`` candidates are left that run or may win. Its
    tasks belong to the caller's TaskGroup; the caller must call ``close`` before it leaves that
    group."""

    def __init__(
        self,
        looking: Looking,
        arrivals: Arrivals,
        scoring: Scoring,
        tasks: asyncio.TaskGroup,
        *,
        keep: int,
    ) -> None:
        self.checkpoints = looking.checkpoints
        self._looking = looking
        self._arrivals = arrivals
        self._scoring = scoring
        self._tasks = tasks
        self._keep = keep
        self._stops: dict[int, Callable[[], object]] = {}
        """How to stop each candidate that has begun."""
        self._again: set[int] = set()
        """Candidates that began anew."""
        self._reached: dict[int, int] = {}
        """The last checkpoint that each candidate has passed."""
        self._shown: defaultdict[int, dict[int, Message]] = defaultdict(dict)
        """What candidates said, by checkpoint and index, until it is scored."""
        self._due: list[int] = []
        """Checkpoints of this wave at which nothing was decided yet."""
        self._deciding = False
        """Whether candidates may still be stopped."""
        self._looks: set[asyncio.Task[None]] = set()
        self._rewards: defaultdict[int, dict[int, float]] = defaultdict(dict)
        """Partial rewards by index and checkpoint."""
        self._seen = False
        self._trouble: Pruning | None = None
        """The first reason for which a decision could not be made."""

    @property
    def state(self) -> Pruning:
        return (self._trouble or self._looking.state) if self._seen else Pruning.UNSEEN

    def partial_rewards(self, index: int) -> tuple[tuple[int, float], ...]:
        """See ``Candidate.partial_rewards``."""
        return tuple(sorted(self._rewards[index].items())) if index in self._rewards else ()

    def next_wave(self) -> None:
        """Further candidates begin; all earlier ones have ended."""
        self.close()
        self._shown.clear()
        self._due = [*self.checkpoints]
        self._deciding = True

    def wave_over(self) -> None:
        """Stop nobody any more. What is being scored may still become known."""
        self._due = []
        self._deciding = False

    def close(self) -> None:
        """Look at nothing more."""
        self.wave_over()
        for look in self._looks:
            look.cancel()

    def begins(self, index: int, stop: Callable[[], object]) -> None:
        if index in self._stops:
            self._again.add(index)
            self._look_if_due()
        self._stops[index] = stop

    def passed(self, index: int, checkpoint: int, message: Message) -> None:
        if index in self._arrivals.ended or index in self._again:
            return
        self._seen = True
        self._reached[index] = checkpoint
        self._shown[checkpoint][index] = message
        self._look_if_due()

    def ended(self, index: int) -> None:
        """A candidate has ended, one that was stopped here too."""
        self._look_if_due()

    def _running(self) -> list[int]:
        """Candidates that may be stopped."""
        ended = self._arrivals.ended
        return [i for i in self._stops if i not in ended and i not in self._again]

    def _look_if_due(self) -> None:
        running = self._running()
        behind = min((self._reached.get(index, 0) for index in running), default=0)
        while self._due and self._due[0] <= behind:
            checkpoint = self._due.pop(0)
            shown = self._shown.pop(checkpoint, {})
            # One partial reward alone says nothing.
            if len(shown) > 1:
                look = self._tasks.create_task(self._look(checkpoint, shown))
                self._looks.add(look)
                look.add_done_callback(self._looks.discard)

    async def _look(self, checkpoint: int, shown: dict[int, Message]) -> None:
        indices = sorted(shown)
        rewards = await self._scoring.partial([shown[index] for index in indices])
        for index, reward in zip(indices, rewards, strict=True):
            if reward is not None and is_computable(reward):
                self._rewards[index][checkpoint] = reward
        if self._looking.rule is not None and self._deciding:
            self._decide(checkpoint, self._looking.rule)

    def _decide(self, checkpoint: int, rule: PruningRule) -> None:
        standing = self._standing(checkpoint)
        ended = self._arrivals.ended
        alive = self._arrivals.usable + sum(index not in ended for index in self._stops)
        most = max(0, alive - self._keep)
        chosen = rule(checkpoint, standing, most) if standing.passed else None
        if chosen is None:
            self._trouble = self._trouble or Pruning.SILENT
        elif len(chosen) > most or not standing.running.keys() >= {*chosen}:
            self._trouble = self._trouble or Pruning.FAULT
        else:
            for index in chosen:
                self._arrivals.reject(index, PRUNED)
                self._stops[index]()

    def _standing(self, checkpoint: int) -> Standing:
        known = {
            index: own[checkpoint]
            for index, own in sorted(self._rewards.items())
            if checkpoint in own
        }
        running, others = dict[int, float](), list[float | None]()
        incumbent: float | None = None
        stoppable = {*self._running()}
        for index in self._stops:
            candidate = self._arrivals.ended.get(index)
            if candidate is None and index in stoppable and index in known:
                running[index] = known[index]
            elif candidate is None:
                others.append(known.get(index))
            elif candidate.status is CandidateStatus.FINISHED and candidate.tier is Tier.ANSWER:
                # One that was cut or has no answer loses to any that ends with one.
                reward = self._scoring.reward(index)
                if reward is None or not is_computable(reward):
                    others.append(known.get(index))
                else:
                    incumbent = reward if incumbent is None else max(incumbent, reward)
        return Standing(running, others, [*known.values()], incumbent)
