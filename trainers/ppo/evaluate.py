"""The policy on prompts that it is never trained on, before and after the run."""

from __future__ import annotations

from trainers.base.seeds import mixed_seed
from trainers.policy.divergence import Divergence
from trainers.ppo.prompts import PromptSet
from trainers.ppo.rollout import Collector


def evaluate_policy(
    collector: Collector, prompts: PromptSet, samples: int, seed: int
) -> dict[str, float]:
    """Means over `samples` answers to each prompt, drawn as in training."""
    repeated = [prompt for prompt in prompts.prompts for _ in range(samples)]
    answers = collector.answer(repeated, mixed_seed(seed, "evaluation"))
    logps, reference, _ = collector.logps(answers.sequences)
    figures = {"reward": float(answers.scores.mean())}
    if answers.golds is not None:
        figures["gold"] = float(answers.golds.mean())
    divergence = Divergence.of(
        logps.sum(-1).tolist(),
        reference.sum(-1).tolist(),
        answers.sequences.answer_mask.sum(-1).tolist(),
        (~answers.truncated).tolist(),
    )
    return {
        **figures,
        "kl to reference": divergence.kl,
        "length": divergence.tokens,
        "eos rate": divergence.eos_rate,
    }
