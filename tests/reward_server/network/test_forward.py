from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from reward_server.network.forward import PaddedForward, padded_calls
from reward_server.network.sequence import Rendered


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_plan_covers_each_sequence_once_within_the_budget(lengths: list[int], budget: int) -> None:
    calls = padded_calls(lengths, budget)
    assert sorted(i for call in calls for i in call) == list(range(len(lengths)))
    for call in calls:
        assert len(call) == 1 or len(call) * max(lengths[i] for i in call) <= budget


def test_plan_puts_like_lengths_together() -> None:
    assert padded_calls([10, 1, 10, 1], 20) == [[0, 2], [1, 3]]


class FirstTokens:
    """Scores a sequence by its first token."""

    def __init__(self) -> None:
        self.calls: list[list[Sequence[int]]] = []

    def outputs(
        self,
        sequences: Sequence[Sequence[int]],
        token_types: Sequence[Sequence[int] | None] | None = None,
        reads: Sequence[Sequence[int]] | None = None,
    ) -> list[tuple[float, ...]]:
        self.calls.append(list(sequences))
        return [(float(sequence[0]),) for sequence in sequences]


def test_rewards_come_back_in_the_batchs_order() -> None:
    model = FirstTokens()
    batch = [Rendered((i,) * n, 0) for i, n in enumerate([1, 9, 3, 9, 2])]
    work = PaddedForward(cast(Any, model))(batch, 18)
    assert work.outputs == [(0.0,), (1.0,), (2.0,), (3.0,), (4.0,)]
    assert [len(call) for call in model.calls] == [2, 3]
    assert (work.tokens, work.positions, work.calls) == (24, 18 + 9, 2)
