"""Ends an iteration in its middle once a signal has asked for it.

Its answers are lost, and the run goes on from the state with which the iteration began.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

MOST_COPIED = 2 << 30
"""Bytes of weights and optimiser that are copied before each update, so that it can be undone.
Larger ones are not copied, and their update ends before the run does."""


class StopAskedError(Exception):
    """Ends the iteration. It does not leave the loop over them."""


class StopSign:
    """Asked in the middle of an iteration whether a signal came."""

    def __init__(self) -> None:
        self._signals: Sequence[int] | None = None

    def watch(self, signals: Sequence[int]) -> None:
        """`signals` grows as they come."""
        self._signals = signals

    @property
    def watched(self) -> bool:
        return self._signals is not None

    @property
    def asked(self) -> bool:
        return bool(self._signals)

    def check(self) -> None:
        if self.asked:
            raise StopAskedError


class Undo:
    """The trained weights and the optimiser as they were before an update, on the CPU."""

    def __init__(self, parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer) -> None:
        self._parameters = parameters
        self._optimizer = optimizer
        self._weights = [_copy(one.detach()) for one in parameters]
        self._state = _copied(optimizer.state_dict())

    @classmethod
    def of(cls, parameters: Iterable[Tensor], optimizer: torch.optim.Optimizer) -> Undo | None:
        """None for what is too large."""
        own = list(parameters)
        adam = 3  # the weight and two moments
        if adam * sum(one.numel() * one.element_size() for one in own) > MOST_COPIED:
            return None
        return cls(own, optimizer)

    def back(self) -> None:
        with torch.no_grad():
            for parameter, before in zip(self._parameters, self._weights, strict=True):
                parameter.copy_(before)
        self._optimizer.load_state_dict(self._state)
        self._optimizer.zero_grad(set_to_none=True)


def _copied(value: Any) -> Any:
    """With every tensor as a copy."""
    if isinstance(value, Tensor):
        return _copy(value)
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return value


def _copy(value: Tensor) -> Tensor:
    return value.to("cpu", copy=True)
