"""A cache layer with room for the tokens to come.

transformers' own layer copies everything it holds for each new token.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""The layer makes room for at least this many tokens at a time."""


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A ``DynamicLayer`` whose tensors are larger than what it holds: ``keys`` and ``values`` are
    views of the used part. Code that replaces ``keys`` drops the room; the next token makes new
    room."""

    def __init__(self, plain: DynamicLayer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        keys, values = plain.keys, plain.values
        assert keys is not None
        assert values is not None
        self.lazy_initialization(keys, values)
        self.keys: Tensor = keys
        self.values: Tensor = values
        self._roomy: tuple[Tensor, Tensor] | None = None
        self._used = keys

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_options: Any
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values [B, H, T, D]; returns all of them."""
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        roomy = self._roomy
        if roomy is None or self.keys is not self._used or roomy[0].shape[-2] < end:
            roomy = _with_room(self.keys, end), _with_room(self.values, end)
        roomy[0][:, :, begin:end] = key_states
        roomy[1][:, :, begin:end] = value_states
        self.keys, self.values = roomy[0][:, :, :end], roomy[1][:, :, :end]
        self._roomy, self._used = roomy, self.keys
        return self.keys, self.values


def make_room(cache: Any) -> None:
    """Replace the layers of ``cache`` that copy for each token. Other layers stay as they are."""
    layers = getattr(cache, "layers", None) or []
    for position, layer in enumerate(layers):
        if type(layer) is DynamicLayer and layer.is_initialized:
            layers[position] = RoomyLayer(layer)


def _with_room(states: Tensor, tokens: int) -> Tensor:
    """``states`` [B, H, T, D] in a tensor for ``tokens`` and some more."""
    batch, heads, held, width = states.shape
    # A fraction of the length, so that a long answer is not copied too often.
    roomy = states.new_empty(batch, heads, tokens + max(ROOM, tokens // 4), width)
    roomy[:, :, :held] = states
    return roomy
