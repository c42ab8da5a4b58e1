"""Conversations of an update end to end in one row, without padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainers.base.errors import ModelError

PROBE = (5, 3, 7)
"""Lengths of the conversations with which a network is tried."""


@torch.no_grad()
def require_apart(net: Any, name: str) -> None:
    """Raise ModelError unless conversations that lie end to end do not see each other.

    The library tells them apart by positions that begin anew, where a network's attention takes a
    mask from it. A network with attention of its own would mix them without a word.
    """
    vocabulary = int(net.get_input_embeddings().num_embeddings)
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(vocabulary, (1, length), generator=generator) for length in PROBE]
    was_training = net.training
    net.eval()
    try:
        alone = torch.cat([_logits(net, ids, _positions(ids)) for ids in rows], 1)
        together = _logits(net, torch.cat(rows, 1), torch.cat([_positions(ids) for ids in rows], 1))
    except TypeError as error:
        raise ModelError(f"padding_free: {name} takes no positions; leave it off") from error
    finally:
        net.train(was_training)
    if float((alone - together).abs().max()) > 1e-4 * float(alone.abs().max()):
        raise ModelError(
            f"padding_free: conversations of {name} that lie end to end see each other; "
            "leave it off"
        )


def _positions(ids: Tensor) -> Tensor:
    return torch.arange(ids.shape[1])[None]


def _logits(net: Any, ids: Tensor, positions: Tensor) -> Tensor:
    logits: Tensor = net(
        input_ids=ids.to(net.device), position_ids=positions.to(net.device), use_cache=False
    ).logits
    return logits.float()
