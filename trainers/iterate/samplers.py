"""Where a round's answers come from: an interface, and its implementation in this process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trainers.data import Message
from trainers.dpo.drawing import draw
from trainers.dpo.reference import load_frozen, weights_hash
from trainers.iterate.settings import IterateSettings
from trainers.rendering import prompt_ids
from trainers.runtime.models import load_tokenizer


@dataclass(frozen=True)
class Answer:
    """One sampled answer."""

    text: str
    ended: bool
    """False where the limit cut it: nobody knows how it would have gone on."""


class Sampler(Protocol):
    """Draws answers from one policy."""

    def sample(self, prompts: Sequence[list[Message]], seed: int) -> list[list[Answer]]:
        """`samples` answers to each prompt, in order; the same seed draws the same where the
        sampling side honours seeds."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """What was sampled from and how, for the record of the round."""
        ...


class InProcessSampler:
    """Samples from a checkpoint that is loaded here."""

    def __init__(self, settings: IterateSettings, policy: str, revision: str | None) -> None:
        self._settings = settings
        self._policy = policy
        self._tokenizer = load_tokenizer(policy, revision)
        self._model = load_frozen(policy, revision, device="auto")
        self._hash = weights_hash(self._model)

    def sample(self, prompts: Sequence[list[Message]], seed: int) -> list[list[Answer]]:
        """See `Sampler`."""
        samples = self._settings.samples
        asked = [prompt_ids(self._tokenizer, prompt) for prompt in prompts]
        drawn = draw(
            self._model,
            self._tokenizer,
            [ids for ids in asked for _ in range(samples)],
            seed=seed,
            max_new_tokens=self._settings.max_new_tokens,
            batch_size=self._settings.sample_batch_size,
            temperature=self._settings.temperature,
        )
        answers = [Answer(t, e) for t, e in zip(drawn.texts, drawn.ended, strict=True)]
        return [answers[i * samples : (i + 1) * samples] for i in range(len(prompts))]

    def describe(self) -> Mapping[str, Any]:
        """See `Sampler`."""
        return {"where": "in process", "policy": self._policy, "weights_sha256": self._hash}
