"""How the sequences of one batch become calls of the network.

The batcher knows only the `Forward` protocol; another way to lay a batch out is another
implementation of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reward_server.network.sequence import Ids, Output, Rendered


@dataclass(frozen=True)
class Work:
    """What one batch gave and cost."""

    outputs: list[Output]
    """In the order of the batch."""
    tokens: int
    """Real tokens computed."""
    positions: int
    """Tokens plus padding."""
    calls: int
    reused: int = 0
    """Tokens of prompts that an earlier batch had computed."""
    lookups: int = 0
    """Prompts that were looked for among those that are kept."""
    hits: int = 0
    """Prompts of those that were found, or at least their beginnings."""


class Prompts(Protocol):
    """Beginnings of conversations that were computed; may be asked from any thread."""

    def known(self, prompt: Ids) -> int:
        """Number of leading tokens that are kept. Counts as a use: the caller scores them next."""
        ...

    def keeps(self, tokens: int) -> bool:
        """Whether a prompt of that length would be kept for the next batch."""
        ...

    def expire(self) -> None:
        """Let go of what was kept for long enough."""
        ...

    def size(self) -> tuple[int, int]:
        """Number of prompts that are kept, and of their bytes."""
        ...


class Forward(Protocol):
    """Scores batches, from one thread at a time."""

    @property
    def prompts(self) -> Prompts | None:
        """What is kept of prompts. A batch computes each of them once for all its sequences. None
        where it computes every sequence as a whole."""
        ...

    def __call__(
        self, batch: Sequence[Rendered], budget: int, prefixes: Sequence[Ids] = ()
    ) -> Work:
        """Score a batch in calls of at most `budget` positions; blocks.

        A sequence longer than the budget gets a call of its own. `prefixes`, beginnings of prompts
        to come, are computed and kept; `prompts` keeps each of them.
        Raises BatchMemoryError when a call does not fit the device.
        """
        ...


class Network(Protocol):
    """The part of a RewardModel that a padded batch needs."""

    def outputs(
        self,
        sequences: Sequence[Sequence[int]],
        token_types: Sequence[Sequence[int] | None] | None = None,
    ) -> list[Output]: ...


class PaddedForward:
    """Right-padded calls of sequences of similar length; keeps nothing."""

    prompts = None

    def __init__(self, model: Network) -> None:
        self._model = model

    def __call__(
        self, batch: Sequence[Rendered], budget: int, prefixes: Sequence[Ids] = ()
    ) -> Work:
        outputs: list[Output] = [()] * len(batch)
        lengths = [len(sequence.ids) for sequence in batch]
        calls = plan(lengths, budget)
        for call in calls:
            found = self._model.outputs(
                [batch[i].ids for i in call], [batch[i].token_types for i in call]
            )
            for index, output in zip(call, found, strict=True):
                outputs[index] = output
        positions = sum(len(call) * max(lengths[i] for i in call) for call in calls)
        return Work(outputs, tokens=sum(lengths), positions=positions, calls=len(calls))


def plan(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split sequences, longest first, into calls whose padded size is within `budget`.

    Returns indices into `lengths`, each exactly once; a sequence over the budget is alone.
    """
    calls: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if calls and (len(calls[-1]) + 1) * longest <= budget:
            calls[-1].append(index)
        else:
            calls.append([index])
            longest = lengths[index]
    return calls
