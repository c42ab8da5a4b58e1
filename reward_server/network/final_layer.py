"""The last layer's work for the tokens that are read, and for no others.

A reward is read at a conversation's last token. Nothing reads what the last layer gives for any
other token. For those it computes keys and values alone, and so saves nearly all of its work: the
queries, the output of the attention and the feed-forward part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = "self_attn"
PARTS = (f"{ATTENTION}.q_proj", f"{ATTENTION}.o_proj", "mlp")
"""The library's usual names for the parts that work on each token by itself, except keys and
values."""


@dataclass(frozen=True)
class FinalLayer:
    number: int
    parts: tuple[nn.Module, ...]
    """Each maps (sequences, tokens, width) to the same shape, every token by itself."""

    @contextmanager
    def only(self, rows: Tensor, shape: torch.Size) -> Iterator[None]:
        """Make the parts compute `rows` alone, and give zeros for the other tokens.

        `shape` is that of the ids, (sequences, tokens); `rows` counts tokens over all sequences.
        Uses hooks, for which torch would compile a compiled network again.
        """

        def narrow(_part: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            hidden: Tensor = inputs[0]
            return (hidden.flatten(0, 1)[rows.to(hidden.device)][None], *inputs[1:])

        def widen(_part: nn.Module, _inputs: Any, found: Tensor) -> Tensor:
            whole = found.new_zeros(shape.numel(), *found.shape[2:])
            whole[rows.to(found.device)] = found[0]
            return whole.view(*shape, *found.shape[2:])

        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.register_forward_pre_hook(narrow))
                stack.enter_context(part.register_forward_hook(widen))
            yield


def find_final_layer(base: nn.Module) -> FinalLayer | None:
    """The last layer of a decoder; None where its parts do not have the usual names."""
    attentions = {
        module.layer_idx: name
        for name, module in base.named_modules()
        if name.endswith(f".{ATTENTION}") and isinstance(getattr(module, "layer_idx", None), int)
    }
    if not attentions:
        return None
    number = max(attentions)
    layer = base.get_submodule(attentions[number].removesuffix(f".{ATTENTION}"))
    named = dict(layer.named_modules())
    return FinalLayer(number, tuple(named[part] for part in PARTS if part in named))
