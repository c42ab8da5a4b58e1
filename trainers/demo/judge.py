"""What a policy of the demo world is worth: its gold reward on held-out prompts, and its price."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

from trainers.base.data import Message
from trainers.demo.gold import gold
from trainers.policy.divergence import measure


@dataclass(frozen=True)
class Judged:
    """Means over all answers to all prompts."""

    gold: float
    gold_error: float
    """Standard error of the mean, taken over prompts."""
    kl: float
    """KL(policy, SFT) in nats an answer, from the policy's own answers (k1)."""
    tokens: float
    eos_rate: float
    answers: int


def judge(
    policy: Path,
    start: Path,
    prompts: Sequence[list[Message]],
    samples: int,
    *,
    seed: int,
    max_new_tokens: int,
    batch_size: int,
) -> Judged:
    """Draw `samples` answers of `policy` to each prompt; `start` is the SFT policy."""
    divergence, drawn = measure(
        policy,
        start,
        [prompt for prompt in prompts for _ in range(samples)],
        seed=seed,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
    )
    texts = iter(drawn)
    golds = [fmean(gold(prompt, next(texts)).total for _ in range(samples)) for prompt in prompts]
    return Judged(
        gold=fmean(golds),
        gold_error=stdev(golds) / sqrt(len(golds)),
        kl=divergence.kl,
        tokens=divergence.tokens,
        eos_rate=divergence.eos_rate,
        answers=len(drawn),
    )
