"""How the sequences of one batch become calls of the network.

The batcher knows only the `Forward` protocol. A new way to lay a batch out is a new implementation
of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reward_server.network.sequence import Ids, Output, Rendered

if TYPE_CHECKING:
    from reward_server.network.model import RewardModel


@dataclass
class Work:
    """What one batch gave and cost."""

    outputs: list[Output]
    """In the order of the batch."""
    tokens: int = 0
    """Real tokens computed."""
    positions: int = 0
    """Tokens plus padding."""
    calls: int = 0
    reused: int = 0
    """Tokens of prompts that an earlier batch had computed."""
    lookups: int = 0
    """Prompts that were looked for among the kept ones."""
    hits: int = 0
    """Prompts whose beginning, at least, was found."""


class KeptPrompts(Protocol):
    """The prompts whose keys and values are kept; any thread may ask."""

    def known(self, prompt: Ids) -> int:
        """Number of leading tokens that are kept. Counts as a use: the caller scores them next."""
        ...

    def keeps(self, tokens: int) -> bool:
        """Whether a prompt of this many tokens would be kept for the next batch."""
        ...

    def expire(self) -> None:
        """Drop what was not used for too long."""
        ...

    def size(self) -> tuple[int, int]:
        """Number of kept prompts, and the bytes that they take."""
        ...


class Forward(Protocol):
    """Scores batches, from one thread at a time."""

    @property
    def prompts(self) -> KeptPrompts | None:
        """The kept prompts, where a batch computes each prompt once for all its sequences. None
        where it computes every sequence as a whole."""
        ...

    def __call__(
        self, batch: Sequence[Rendered], budget: int, prefixes: Sequence[Ids] = ()
    ) -> Work:
        """Score a batch in calls of at most `budget` positions; blocks.

        A sequence longer than the budget gets a call of its own. `prefixes` are beginnings of
        prompts to come: they are computed and kept in `prompts`. Raises BatchMemoryError when a
        call does not fit the device.
        """
        ...


class PaddedForward:
    """Right-padded calls of sequences of similar length; keeps nothing."""

    prompts = None

    def __init__(self, model: RewardModel) -> None:
        self._model = model

    def __call__(
        self, batch: Sequence[Rendered], budget: int, prefixes: Sequence[Ids] = ()
    ) -> Work:
        outputs: list[Output] = [()] * len(batch)
        lengths = [len(sequence.ids) for sequence in batch]
        calls = padded_calls(lengths, budget)
        for call in calls:
            found = self._model.outputs(
                [batch[i].ids for i in call],
                [batch[i].token_types for i in call],
                [batch[i].read_at for i in call],
            )
            for index, output in zip(call, found, strict=True):
                outputs[index] = output
        positions = sum(len(call) * max(lengths[i] for i in call) for call in calls)
        return Work(outputs, tokens=sum(lengths), positions=positions, calls=len(calls))


def padded_calls(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split sequences, longest first, into calls whose padded size is within `budget`.

    Returns indices into `lengths`, each exactly once. A sequence over the budget is alone.
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
