"""A few answers before and after training, for the page of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainers.base.data import Conversation
from trainers.base.messages import shown_answer
from trainers.base.report import SHOWN_SAMPLES, BeforeAndAfter
from trainers.policy.drawing import PolicySampler


def before_and_after(
    start: str,
    revision: str | None,
    end: Path,
    prompts: Sequence[Conversation],
    *,
    seed: int,
    max_new_tokens: int,
) -> list[BeforeAndAfter]:
    """An answer of both policies to each of the first prompts; none without prompts."""
    asked = prompts[:SHOWN_SAMPLES]
    if not asked:
        return []
    texts = []
    for policy, version in ((start, revision), (str(end), None)):
        sampler = PolicySampler(policy, version, device="auto")
        drawn = sampler.draw(asked, seed=seed, max_new_tokens=max_new_tokens, batch_size=len(asked))
        texts.append([shown_answer([answer.message]) for [answer] in drawn])
    return [
        BeforeAndAfter(prompt.messages[-1]["content"], *both)
        for prompt, *both in zip(asked, *texts, strict=True)
    ]
