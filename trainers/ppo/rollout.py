"""Rollouts: answers of the current policy with everything that the update needs to know.

The measurements stay fixed through the iteration's passes; the policy measured here is the *old*
policy of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from trainers.base.thinking import drawn_message
from trainers.policy.generation import Generator
from trainers.policy.logits import answer_logps, answer_stats
from trainers.policy.sequences import Sequences, by_length
from trainers.ppo.advantages import gae
from trainers.ppo.kl import ESTIMATORS
from trainers.ppo.masked import whiten
from trainers.ppo.policy import Reference
from trainers.ppo.prompts import TokenisedPrompt
from trainers.ppo.rewards import answer_scores, shaped_rewards
from trainers.ppo.settings import PpoSettings
from trainers.ppo.stopping import StopSign
from trainers.ppo.value import ValueModel
from trainers.rewards.answers import AnswerScorer
from trainers.rewards.gold import Gold


@dataclass(frozen=True)
class Answers:
    """The answers and their scores, in the order of the prompts."""

    sequences: Sequences
    texts: list[str]
    truncated: Tensor
    """(rows,) bool: cut before an end-of-turn token."""
    scores: Tensor
    """(rows,) the reward model's raw scores."""
    golds: Tensor | None
    """(rows,)"""
    generation: Mapping[str, float]
    """The generator's own figures, for the log."""


@dataclass(frozen=True)
class Rollouts:
    """Answers with their per-token numbers, each (rows, width) float32 and 0 in the padding."""

    answers: Answers
    logps: Tensor
    """Under the policy that sampled, at the sampling temperature."""
    reference: Tensor
    """Log-probs under the frozen reference."""
    entropy: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    @property
    def sequences(self) -> Sequences:
        return self.answers.sequences


@dataclass(eq=False)
class Collector:
    """Makes rollouts, with the models, generator and reward function that this takes."""

    settings: PpoSettings
    tokenizer: PreTrainedTokenizerBase
    policy: Any
    reference: Reference
    value: ValueModel
    scorer: AnswerScorer
    generator: Generator
    ends: frozenset[int]
    pad: int
    gold: Gold | None
    sign: StopSign = field(default_factory=StopSign)

    def answer(self, prompts: Sequence[TokenisedPrompt], seed: int) -> Answers:
        """Draw one answer to each prompt with the policy as it is now, and judge it."""
        self.generator.refresh()
        ids = [prompt.ids for prompt in prompts]
        drawn = self.generator.generate(ids, seed)
        texts = self.tokenizer.batch_decode(drawn, skip_special_tokens=True)
        asked = [prompt.asked for prompt in prompts]
        judged = [
            drawn_message(text, self.settings.thinking, one.inputs.tools)
            for text, one in zip(texts, asked, strict=True)
        ]
        sequences = Sequences.build(ids, drawn, self.pad, self.policy.device)
        device = sequences.ids.device
        golds = None
        if self.gold is not None:
            both = zip(asked, judged, strict=True)
            golds = torch.tensor([self.gold(one.messages, said["content"]) for one, said in both])
        return Answers(
            sequences,
            texts,
            torch.tensor([answer[-1] not in self.ends for answer in drawn], device=device),
            torch.tensor(self.scorer.score_answers(asked, judged), device=device),
            golds,
            self.generator.figures,
        )

    def logps(self, sequences: Sequences) -> tuple[Tensor, Tensor, Tensor]:
        """Policy's and reference's log-probs and the policy's entropy, each (rows, width)."""
        temperature = self.settings.sampling.temperature

        def measure(part: Sequences) -> tuple[Tensor, ...]:
            self.sign.check()
            stats = answer_stats(self.policy, part, temperature)
            return stats.logps, self.reference.logps(part, temperature), stats.entropy

        logps, reference, entropy = self._by_parts(sequences, measure)
        return logps, reference, entropy

    def policy_logps(self, sequences: Sequences) -> Tensor:
        """The policy's log-probs as it is now, (rows, width). No signal ends this: it is asked
        behind an update, which is whole."""
        temperature = self.settings.sampling.temperature
        (logps,) = self._by_parts(
            sequences, lambda part: (answer_logps(self.policy, part, temperature),)
        )
        return logps

    def collect(self, prompts: Sequence[TokenisedPrompt], seed: int, beta: float) -> Rollouts:
        """Answers to the prompts, measured, with advantages and returns at this beta."""
        answers = self.answer(prompts, seed)
        sequences, mask = answers.sequences, answers.sequences.answer_mask
        logps, reference, entropy = self.logps(sequences)
        (values,) = self._by_parts(sequences, lambda part: (self.value(part),))
        settings = self.settings
        kl = ESTIMATORS[settings.kl.estimator](logps, reference)
        scores = answer_scores(answers.scores, answers.truncated, settings.shape)
        rewards = shaped_rewards(kl, beta, scores, mask)
        advantages, returns = gae(
            rewards, values, mask, settings.advantages.gamma, settings.advantages.lam
        )
        if settings.advantages.whiten:
            advantages = whiten(advantages, mask)
        return Rollouts(answers, logps, reference, entropy, values, advantages, returns)

    @torch.no_grad()
    def _by_parts(
        self, sequences: Sequences, measure: Callable[[Sequences], tuple[Tensor, ...]]
    ) -> list[Tensor]:
        """`measure` in micro-batches of like length, its results put back in order."""
        shape = sequences.answers.shape
        results: list[Tensor] = []
        rows = torch.arange(len(sequences), device=sequences.ids.device)
        for part in by_length(sequences, rows, self.settings.update.micro_batch_size):
            selected = sequences.select(part)
            for index, values in enumerate(measure(selected)):
                if index == len(results):
                    results.append(values.new_zeros(shape))
                real = values.masked_fill(~selected.answer_mask, 0.0)
                results[index][part, : selected.width] = real
        return results
