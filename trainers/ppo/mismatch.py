"""Does an engine sample from the policy? Its log-probs of drawn tokens against the policy's own.

An engine that keeps old weights, or a part of them, answers as fluently as before. That it does so
shows nowhere else than in the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainers.policy.logits import answer_logps
from trainers.policy.sequences import Sequences


@dataclass(frozen=True)
class Judged:
    """An answer with the log-probs that the engine gave to its tokens, at temperature 1."""

    prompt: Sequence[int]
    answer: Sequence[int]
    logps: Sequence[float]


@torch.no_grad()
def mean_difference(policy: Any, answers: Iterable[Judged]) -> float:
    """Mean absolute difference of the engine's log-probs from the policy's, in nats a token.

    One answer at a time: the logits of a real vocabulary are large.
    """
    differences = []
    for judged in answers:
        rows = Sequences.build([judged.prompt], [judged.answer], pad=0, device=policy.device)
        own = answer_logps(policy, rows, temperature=1.0)[0].double()
        differences.append((own - own.new_tensor(judged.logps)).abs())
    return float(torch.cat(differences).mean())


def spread(answers: int, wanted: int) -> range:
    """Places of at most `wanted` answers, evenly spread over all of them."""
    count = min(answers, wanted)
    return range(0, answers - answers % count, answers // count)
