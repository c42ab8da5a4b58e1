"""Pairs of a policy's own answers to the demo world's prompts, labelled as its other pairs are.

Each answer is in one pair only: the label says which of two random answers was preferred, drawn
with the probability that their true rewards give it (`data.prefers_first`).
"""

import random
from collections.abc import Sequence
from typing import Any

from trainers.base.data import Message
from trainers.demo.data import prefers_first
from trainers.demo.gold import gold
from trainers.policy.drawing import PolicySampler


def on_policy_pairs(
    policy: str,
    prompts: Sequence[list[Message]],
    *,
    pairs_per_prompt: int,
    seed: int,
    max_new_tokens: int = 64,
    batch_size: int = 256,
) -> list[dict[str, Any]]:
    """`{prompt, chosen, rejected}` records, fewer than asked for: two answers may be equal, and
    one that the limit cut is left out with its pair."""
    drawn = PolicySampler(policy).draw(
        prompts,
        2 * pairs_per_prompt,
        seed=seed,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
    )
    rng = random.Random(seed)
    records = []
    for prompt, answers in zip(prompts, drawn, strict=True):
        for first, second in zip(answers[::2], answers[1::2], strict=True):
            if first.text == second.text or not (first.ended and second.ended):
                continue
            texts = [first.text, second.text]
            if not prefers_first(rng, *(gold(prompt, text).total for text in texts)):
                texts.reverse()
            chosen, rejected = ([{"role": "assistant", "content": text}] for text in texts)
            records.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return records
