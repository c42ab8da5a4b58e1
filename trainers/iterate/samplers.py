"""Where a round's answers come from: an interface, and its implementation in this process."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from trainers.base.data import Conversation
from trainers.iterate.settings import IterateSettings
from trainers.policy.drawing import DrawnAnswer, PolicySampler
from trainers.policy.frozen import weights_hash


class RoundSampler(Protocol):
    """Draws answers from one policy."""

    def sample(self, prompts: Sequence[Conversation], seed: int) -> list[list[DrawnAnswer]]:
        """`samples` answers to each prompt, in order; the same seed draws the same where the
        sampling side honours seeds."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """What was sampled from and how, for the record of the round."""
        ...


class InProcessSampler:
    """Samples from a checkpoint that is loaded here."""

    def __init__(
        self,
        settings: IterateSettings,
        policy: str,
        revision: str | None,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._sampler = PolicySampler(
            policy, revision, device="auto", tokenizer=tokenizer, thinking=settings.thinking
        )
        self._hash = weights_hash(self._sampler.model)

    def sample(self, prompts: Sequence[Conversation], seed: int) -> list[list[DrawnAnswer]]:
        """See `RoundSampler`."""
        return self._sampler.draw(
            prompts,
            self._settings.samples,
            seed=seed,
            max_new_tokens=self._settings.max_new_tokens,
            batch_size=self._settings.sample_batch_size,
            temperature=self._settings.temperature,
        )

    def describe(self) -> Mapping[str, Any]:
        """See `RoundSampler`."""
        return {"where": "in process", "policy": self._policy, "weights_sha256": self._hash}
