"""Large weight matrices laid out once for oneDNN's product on the CPU.

An ordinary product rearranges the weights, or reads them as they lie, in every call. Measured on
one core with AVX2, 768 to 2048 columns and about 1280 rows, MKL's took 1.0 to 1.2 times as long as
this; small matrices gain nothing there. With 576 columns and 2 to 16 rows, as they are when tokens
are drawn, it is 1.2 to 1.4 times, for small matrices too; a single row loses a sixth.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_WEIGHTS = 1 << 19
"""A smaller matrix gains nothing from packing in a batch of whole conversations."""


class PackedLinear(nn.Linear):
    """Computes what the given `nn.Linear` computes; for inference only.

    Its `weight` has the shape and the type but no memory: the product uses the packed copy.
    """

    def __init__(self, plain: nn.Linear) -> None:
        """Pack the weights of a float32 layer on the CPU."""
        super().__init__(plain.in_features, plain.out_features, bias=False, device="meta")
        self.bias = plain.bias
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(plain.weight.detach())  # noqa: SLF001

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the base class's name
        """(..., in) to (..., out)."""
        if input.numel() == 0:  # an announced prompt has no token that is read
            return input.new_empty(*input.shape[:-1], self.out_features)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - as inductor calls it
            input, self._packed, self.bias, "none", [], ""
        )
        return product


def pack_weights(net: nn.Module, least: int = LEAST_WEIGHTS) -> int:
    """Replace linear layers of at least `least` weights below `net` by packed ones; returns how
    many.

    Replaces none off the CPU, in other types than float32, or in a torch without oneDNN.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return 0
    packed: dict[int, PackedLinear] = {}
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if _packs(child, least):
                assert isinstance(child, nn.Linear)
                if id(child) not in packed:
                    packed[id(child)] = PackedLinear(child)
                setattr(parent, name, packed[id(child)])
    return len(packed)


def _packs(module: nn.Module, least: int) -> bool:
    # A subclass may compute something else.
    return (
        type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.float32
        and module.weight.numel() >= least
    )
