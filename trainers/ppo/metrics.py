"""The curves of a run: what `metrics.jsonl` and TensorBoard show for each iteration.

- reward: mean raw score of the reward model; its standard deviation beside it
- gold: mean true reward, if it is known; nothing is trained on it
- kl to reference: nats per answer between the policy that sampled and the frozen reference
- kl to old policy: nats per answer between the policy after the update and before it
- entropy: nats per token of the policy that sampled
- length, eos rate: tokens per answer; share of answers that ended by themselves
- distinct-1, distinct-2: different tokens, and pairs of neighbours, per token and pair
- value, explained variance: the value model's mean; 1 is perfect, 0 as good as a constant
- ratio, least and most: a token's new probability by its old one, after the update
- engine mismatch (generation by vLLM only): mean absolute difference, in nats a token, between the
  log-probs of the engine that sampled and those of the policy

`update` adds the averages of its steps: losses, clip fraction, gradient norms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from trainers.base.seeds import mixed_seed
from trainers.policy.divergence import Divergence
from trainers.ppo.kl import k1, k3
from trainers.ppo.masked import explained_variance, masked_mean
from trainers.ppo.prompts import PromptSet
from trainers.ppo.rollout import Collector, Rollouts


def rollout_metrics(rollouts: Rollouts) -> dict[str, float]:
    """Figures of an iteration's answers, before the policy changes."""
    answers, mask = rollouts.answers, rollouts.sequences.answer_mask
    kl = k1(rollouts.logps, rollouts.reference).sum(-1)
    tokens = [
        row[keep].tolist() for row, keep in zip(rollouts.sequences.answers, mask, strict=True)
    ]
    gold = {} if answers.golds is None else {"gold": float(answers.golds.mean())}
    return {
        "reward": float(answers.scores.mean()),
        "reward, standard deviation": float(answers.scores.std(correction=0)),
        **gold,
        "kl to reference": float(kl.mean()),
        "entropy": float(masked_mean(rollouts.entropy, mask)),
        "length": float(mask.sum(-1).float().mean()),
        "eos rate": 1 - float(answers.truncated.float().mean()),
        "distinct-1": distinct(tokens, 1),
        "distinct-2": distinct(tokens, 2),
        "value": float(masked_mean(rollouts.values, mask)),
        "explained variance": float(explained_variance(rollouts.values, rollouts.returns, mask)),
        **answers.generation,
    }


def distinct(answers: Iterable[Sequence[int]], n: int) -> float:
    """Number of different n-grams by number of n-grams, over all answers (Li et al. 2016,
    arXiv:1510.03055); 0 if there are none."""
    grams = [tuple(a[i : i + n]) for a in answers for i in range(len(a) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def drift_metrics(rollouts: Rollouts, after: torch.Tensor) -> dict[str, float]:
    """How far one update moved the policy. `after`: log-probs of the same answers, (rows, width).

    The KL is that of Schulman's k3 on the old policy's samples, summed over each answer.
    """
    mask = rollouts.sequences.answer_mask
    ratio = (after - rollouts.logps).exp()[mask]
    return {
        "kl to old policy": float(k3(rollouts.logps, after).masked_fill(~mask, 0).sum(-1).mean()),
        "ratio, least": float(ratio.min()),
        "ratio, most": float(ratio.max()),
    }


def evaluate_policy(
    collector: Collector, prompts: PromptSet, samples: int, seed: int
) -> dict[str, float]:
    """The policy on prompts that it is never trained on, before or after the run.

    Means over `samples` answers to each prompt, drawn as in training.
    """
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
