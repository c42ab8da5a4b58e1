"""What a policy makes of the tokens of given answers: logits, log-probabilities, entropies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trainers.policy.logps import token_entropy, token_logps
from trainers.policy.sequences import Sequences


def answer_logits(model: Any, sequences: Sequences) -> Tensor:
    """The logits that each answer token was drawn from: (rows, width, vocabulary)."""
    out = model(
        input_ids=sequences.ids,
        attention_mask=sequences.mask.long(),
        position_ids=sequences.positions,
        logits_to_keep=sequences.width + 1,
        use_cache=False,
    )
    logits: Tensor = out.logits[:, :-1]
    return logits


def answer_logps(model: Any, sequences: Sequences, temperature: float) -> Tensor:
    """Log-probabilities of the answer tokens, (rows, width) in nats; the padding's mean nothing."""
    return token_logps(answer_logits(model, sequences), sequences.answers, temperature)


@dataclass(frozen=True)
class TokenStats:
    """Both (rows, width), in nats."""

    logps: Tensor
    entropy: Tensor


def answer_stats(model: Any, sequences: Sequences, temperature: float) -> TokenStats:
    """Log-probabilities and entropies of the answer tokens from one forward pass."""
    logits = answer_logits(model, sequences)
    return TokenStats(
        token_logps(logits, sequences.answers, temperature), token_entropy(logits, temperature)
    )
