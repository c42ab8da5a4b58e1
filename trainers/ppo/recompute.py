"""Gradient checkpointing of networks that otherwise stay in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from trainers.base.errors import ModelError


def keep_inputs_only(net: Any, name: str) -> None:
    """Have each layer of `net` keep only its input, while `recomputing`.

    Raises ModelError for a network that cannot.
    """
    try:
        net.gradient_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        raise ModelError(f"update.gradient_checkpointing: {name}: {error}") from error
    # In evaluation mode nothing was dropped, and now nothing is in training mode either.
    for module in net.modules():
        for key, value in list(vars(module).items()):
            if "dropout" in key and isinstance(value, float):
                setattr(module, key, 0.0)
        if isinstance(module, nn.Dropout):
            module.p = 0.0


@contextmanager
def recomputing(nets: Sequence[nn.Module]) -> Iterator[None]:
    """The library recomputes only in training mode, so the block's backward pass must lie in it."""
    for net in nets:
        net.train()
    try:
        yield
    finally:
        for net in nets:
            net.eval()
