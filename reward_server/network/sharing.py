"""Which networks can compute a prompt once for several answers; the trainers ask the same.

The architecture's name does not tell. A network is tried on a few random conversations, and what
it gives for a shared prompt is compared with what it gives for whole conversations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from reward_server.network.sequence import Rendered

Lengths = Sequence[tuple[int, Sequence[int]]]
"""For each prompt its tokens, and those of each of its answers."""


def attention_window(net: nn.Module) -> float:
    """Tokens that the network's attention looks back; a longer conversation is not seen whole."""
    config: Any = net.config
    text_config = config.get_text_config()
    window = getattr(text_config, "sliding_window", None)
    used = getattr(text_config, "use_sliding_window", True)
    return window if isinstance(window, int) and used else math.inf


def random_conversations(net: nn.Module, lengths: Lengths) -> list[Rendered]:
    """The same ones in every call, of tokens that the network knows."""
    vocabulary = int(net.get_input_embeddings().num_embeddings)  # type: ignore[operator]
    generator = torch.Generator().manual_seed(0)

    def draw(tokens: int) -> tuple[int, ...]:
        return tuple(torch.randint(vocabulary, (tokens,), generator=generator).tolist())

    batch = []
    for prompt_tokens, answers in lengths:
        prompt = draw(prompt_tokens)
        batch += [Rendered(prompt + draw(answer), prompt_tokens) for answer in answers]
    return batch
