"""Does an engine sample from the policy? Its log-probs of drawn tokens against the policy's own.

An engine that keeps old weights, or a part of them, answers as fluently as before. Only the numbers
show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainers.policy.logits import answer_logps
from trainers.policy.sequences import Sequences


@dataclass(frozen=True)
class EngineAnswer:
    """An answer as the engine gave it."""

    prompt: Sequence[int]
    ids: list[int]
    logps: Sequence[float] | None = None
    """The log-prob of each token at temperature 1; None if they were not requested."""


@torch.no_grad()
def mean_difference(policy: Any, answers: Iterable[EngineAnswer]) -> float:
    """Mean absolute difference of the engine's log-probs from the policy's, in nats a token.

    Answers without log-probs are left out. One answer at a time: the logits of a real vocabulary
    are large.
    """
    differences = []
    for answer in answers:
        if answer.logps is not None:
            rows = Sequences.build([answer.prompt], [answer.ids], pad=0, device=policy.device)
            own = answer_logps(policy, rows, temperature=1.0)[0].double()
            differences.append((own - own.new_tensor(answer.logps)).abs())
    return float(torch.cat(differences).mean())


def evenly_spread(answers: int, wanted: int) -> range:
    """Places of at most `wanted` answers, evenly spread over all of them."""
    count = min(answers, wanted)
    return range(0, answers - answers % count, answers // count)
