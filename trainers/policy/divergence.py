"""How far a tuned policy went from where it started, measured on its own answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from transformers import PreTrainedTokenizerBase

from trainers.base.bad_lines import BadLines
from trainers.base.data import Conversation, Message, PromptRecord, read_placed
from trainers.base.errors import DataError
from trainers.base.thinking import ThinkingMarks
from trainers.policy.drawing import PolicySampler
from trainers.policy.drawn_calls import DrawnCalls
from trainers.policy.frozen import load_frozen, score_answers
from trainers.policy.rendering import prompt_ids


@dataclass(frozen=True)
class Divergence:
    """Measured on one answer of the policy to each prompt."""

    kl: float
    """KL(policy, reference) in nats an answer: the mean of log p_policy - log p_reference over
    the policy's own answers (k1 of Schulman 2020, http://joschu.net/blog/kl-approx.html)."""
    tokens: float
    """Mean length of an answer."""
    eos_rate: float
    """The share of answers that ended by themselves."""

    @classmethod
    def of(
        cls,
        own: Sequence[float],
        reference: Sequence[float],
        lengths: Sequence[int],
        ended: Sequence[bool],
    ) -> "Divergence":
        """From each answer's log-probability under both policies, its tokens, and how it ended."""
        return cls(
            kl=fmean(p - q for p, q in zip(own, reference, strict=True)),
            tokens=fmean(lengths),
            eos_rate=fmean(ended),
        )

    def table(self) -> dict[str, float]:
        return {
            "KL to the reference (nats an answer)": self.kl,
            "mean tokens an answer": self.tokens,
            "answers that end by themselves": self.eos_rate,
        }


def checked_prompts(
    path: Path | None,
    tokenizer: PreTrainedTokenizerBase,
    bad: BadLines | None = None,
    *,
    judged: bool = False,
) -> list[Conversation]:
    """Prompts to measure on, none without a file; read before training, so that a bad line costs
    no run. DataError for a line that cannot be read, or that the chat template refuses, unless
    `bad` counts them; also for tools whose calls could not be read, if a reward model is to judge
    what is drawn in this process."""
    if path is None:
        return []
    bad = bad or BadLines()
    found, calls = [], DrawnCalls(tokenizer)
    for where, record in read_placed(PromptRecord, path, bad):
        with bad.tried():
            if judged:
                calls.require(record.asked, where)
            prompt_ids(tokenizer, record.asked, where)
            found.append(record.asked)
    if not found:
        raise DataError(f"{path}: every prompt is refused by the chat template")
    return found


def measure_divergence(
    policy: Path,
    reference: str | Path,
    prompts: Sequence[Conversation],
    *,
    seed: int,
    max_new_tokens: int,
    batch_size: int,
    revision: str | None = None,
    thinking: ThinkingMarks | None = None,
) -> tuple[Divergence, list[Message]]:
    """Draw one answer to each prompt from `policy` and compare both policies on it.

    `revision` is the reference's, on the hub. Returns the answers as well, their thinking apart.
    """
    sampler = PolicySampler(policy, device="auto", thinking=thinking)
    asked = [prompt_ids(sampler.tokenizer, prompt) for prompt in prompts]
    answers = [
        answer
        for row in sampler.draw(
            prompts, seed=seed, max_new_tokens=max_new_tokens, batch_size=batch_size
        )
        for answer in row
    ]
    ids = [answer.ids for answer in answers]
    own = score_answers(sampler.model, asked, ids, batch_size)
    del sampler  # one after the other, for those who have memory for one
    frozen = load_frozen(reference, revision, device="auto")
    other = score_answers(frozen, asked, ids, batch_size)
    divergence = Divergence.of(
        own, other, [len(answer) for answer in ids], [answer.ended for answer in answers]
    )
    return divergence, [answer.message for answer in answers]
