"""Answers of a policy kept in a file, what they are truly worth, and what a model makes of them.

Drawn once, they serve every reward model that is to choose among them.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from bon_common.best_of_n import best_of_n
from trainers.base.data import Message, Messages, Prompt, Record, read_records, write_records
from trainers.demo.gold import gold
from trainers.policy.drawing import PolicySampler
from trainers.rewards.one import score


class Answered(Record):
    """A prompt and several answers to it."""

    prompt: Messages
    answers: list[str]


def draw(
    policy: Path,
    prompts: Path,
    target: Path,
    *,
    samples: int,
    seed: int,
    max_new_tokens: int,
    batch_size: int,
) -> int:
    """Write `samples` answers of `policy` to each prompt as `Answered`; returns their number."""
    asked = [record.prompt for record in read_records(Prompt, prompts)]
    drawn = PolicySampler(policy).draw(
        asked, samples, seed=seed, max_new_tokens=max_new_tokens, batch_size=batch_size
    )
    both = zip(asked, drawn, strict=True)
    write_records(
        target,
        ({"prompt": prompt, "answers": [one.text for one in row]} for prompt, row in both),
    )
    return samples * len(asked)


def rewards_of(reward: Path, answered: Sequence[Answered], batch_size: int) -> list[list[float]]:
    """The reward model's score of each answer, grouped as the answers are."""
    flat = iter(
        score(
            reward,
            [
                [*one.prompt, Message(role="assistant", content=text)]
                for one in answered
                for text in one.answers
            ],
            batch_size,
        )
    )
    return [[next(flat) for _ in one.answers] for one in answered]


def golds_of(answered: Sequence[Answered]) -> list[list[float]]:
    """The true reward of each answer."""
    return [[gold(one.prompt, text).total for text in one.answers] for one in answered]


def curve(
    rewards: Sequence[Sequence[float]], golds: Sequence[Sequence[float]], sizes: Sequence[int]
) -> list[dict[str, float]]:
    """For each n: the mean reward and gold of the best of n by reward, and of the best by gold."""
    both = list(zip(rewards, golds, strict=True))
    return [
        {
            "n": n,
            "gold": fmean(best_of_n(proxy, true, n) for proxy, true in both),
            "reward": fmean(best_of_n(proxy, proxy, n) for proxy, _ in both),
            "oracle": fmean(best_of_n(true, true, n) for _, true in both),
        }
        for n in sizes
    ]
