"""Answers of a policy in this process: what to measure it on, and what to make pairs of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from bon_common.loaded_model import position_limit
from trainers.base.data import Conversation, Message
from trainers.base.fit import require_answers, require_fit
from trainers.base.loading import load_tokenizer
from trainers.base.thinking import ThinkingMarks, drawn_message
from trainers.policy.ends import end_tokens, pad_token
from trainers.policy.frozen import load_frozen
from trainers.policy.in_process import InProcessGenerator
from trainers.policy.rendering import prompt_ids


@dataclass(frozen=True)
class DrawnAnswer:
    """One answer of a policy."""

    message: Message
    """Without special tokens."""
    ended: bool
    """False where the limit cut it: how it would have gone on is unknown."""
    ids: list[int] = field(default_factory=list)
    """Up to and including the end-of-turn token, if it ended; empty where a server drew it."""

    @property
    def text(self) -> str:
        """The message's content."""
        return self.message["content"]


class PolicySampler:
    """A frozen policy that draws answers from its own distribution, whatever the checkpoint's
    generation settings say."""

    def __init__(
        self,
        policy: str | Path,
        revision: str | None = None,
        *,
        device: str = "cpu",
        tokenizer: PreTrainedTokenizerBase | None = None,
        thinking: ThinkingMarks | None = None,
    ) -> None:
        """Load a checkpoint onto a device, as `find_device` takes it; ModelError if that fails. Its
        own tokenizer reads the prompts unless another one is given; `thinking` is set apart."""
        self._thinking = thinking
        self.tokenizer = tokenizer or load_tokenizer(policy, revision)
        self.model = load_frozen(policy, revision, device=device)
        require_fit(self.model, self.tokenizer, policy)
        self._ends = end_tokens(self.model, self.tokenizer)

    def require_room(self, prompts: Sequence[Sequence[int]], key: str, most: int) -> None:
        """Raise SettingsError, naming `key`, unless `most` tokens fit behind every prompt."""
        require_answers(position_limit(self.model), prompts, key, most)

    def draw(
        self,
        prompts: Sequence[Conversation],
        samples: int = 1,
        *,
        seed: int,
        max_new_tokens: int,
        batch_size: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> list[list[DrawnAnswer]]:
        """`samples` answers to each prompt, in the order of the prompts.

        The same seed and batch size draw the same answers on the same machine.
        """
        generator = InProcessGenerator(
            self.model,
            pad=pad_token(self.tokenizer, self._ends),
            ends=self._ends,
            temperature=temperature,
            top_p=top_p,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
        )
        asked = [prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        self.require_room(asked, "max_new_tokens", max_new_tokens)
        drawn = generator.generate([ids for ids in asked for _ in range(samples)], seed)
        answers = [
            DrawnAnswer(
                drawn_message(
                    str(self.tokenizer.decode(ids, skip_special_tokens=True)),
                    self._thinking,
                    prompts[place // samples].inputs.tools,
                ),
                ids[-1] in self._ends,
                ids,
            )
            for place, ids in enumerate(drawn)
        ]
        return [answers[i * samples : (i + 1) * samples] for i in range(len(prompts))]
