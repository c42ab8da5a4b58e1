"""How far a tuned policy went from where it started, measured on its own answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from trainers.data import Message
from trainers.dpo.drawing import Drawn, draw
from trainers.dpo.reference import load_frozen, score_answers
from trainers.rendering import prompt_ids
from trainers.runtime.models import load_tokenizer


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

    def table(self) -> dict[str, float]:
        return {
            "KL to the reference (nats an answer)": self.kl,
            "mean tokens an answer": self.tokens,
            "answers that end by themselves": self.eos_rate,
        }


def measure(
    policy: Path,
    reference: str | Path,
    prompts: Sequence[list[Message]],
    *,
    seed: int,
    max_new_tokens: int,
    batch_size: int,
) -> tuple[Divergence, Drawn]:
    """Draw one answer to each prompt from `policy` and compare both policies on it."""
    tokenizer = load_tokenizer(policy)
    model = load_frozen(policy)
    asked = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    drawn = draw(
        model,
        tokenizer,
        asked,
        seed=seed,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
    )
    own = score_answers(model, asked, drawn.ids, batch_size)
    other = score_answers(load_frozen(reference), asked, drawn.ids, batch_size)
    divergence = Divergence(
        kl=fmean(p - q for p, q in zip(own, other, strict=True)),
        tokens=fmean(len(answer) for answer in drawn.ids),
        eos_rate=fmean(drawn.ended),
    )
    return divergence, drawn
