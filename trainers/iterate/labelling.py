"""From scored answers to pairs: the best against the worst of each prompt."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NotRequired

from typing_extensions import TypedDict

from trainers.base.data import Conversation, Message

CUT = "answers cut by the limit"
"""They would teach to stop there."""
TOO_FEW = "prompts with fewer than two whole answers"
EQUAL = "prompts whose answers are all equal"
CLOSE = "prompts whose rewards are too close"
"""The best and the worst differ by no more than the least gap."""


class RewardedAnswer(TypedDict):
    """An answer with what the reward model says of it."""

    message: Message
    ended: bool
    reward: float


class RewardedPrompt(TypedDict):
    """All answers to one prompt, as a round's files hold them."""

    prompt: list[Message]
    tools: NotRequired[list[dict[str, Any]]]
    chat_template_kwargs: NotRequired[dict[str, Any]]
    metadata: NotRequired[dict[str, Any]]
    answers: list[RewardedAnswer]


def rewarded(asked: Conversation, answers: list[RewardedAnswer]) -> RewardedPrompt:
    """All answers to a prompt, with what stands beside it."""
    row: RewardedPrompt = {"prompt": asked.messages, "answers": answers}
    if asked.inputs.tools:
        row["tools"] = [dict(tool) for tool in asked.inputs.tools]
    if asked.inputs.template_kwargs:
        row["chat_template_kwargs"] = dict(asked.inputs.template_kwargs)
    if asked.metadata:
        row["metadata"] = dict(asked.metadata)
    return row


@dataclass(frozen=True)
class Labelled:
    """The pairs of a round, and what the reward model thought of all its answers."""

    pairs: list[dict[str, Any]]
    """`{prompt, chosen, rejected, margin}`; the margin is how much higher chosen was rewarded."""
    left_out: Mapping[str, int]
    """How many answers or prompts gave no pair, by reason."""
    mean_reward: float
    """Over all whole answers: what one answer of the sampled policy is worth to the reward model;
    0 where there is none."""
    mean_best: float
    """Over the prompts with whole answers."""


Prefer = Callable[[float], bool]
"""Whether the better of two answers is the preferred one, by the difference of their rewards."""


def always(gap: float) -> bool:
    """The better answer is preferred, by however little."""
    return gap >= 0


def drawn_labels(seed: int) -> Prefer:
    """The better answer is preferred with probability sigmoid(gap) (Bradley and Terry 1952)."""
    rng = random.Random(seed)
    return lambda gap: rng.random() < 1 / (1 + math.exp(-gap))


def label(
    rows: Sequence[RewardedPrompt], *, min_gap: float = 0.0, prefer: Prefer = always
) -> Labelled:
    """Best against worst; of equal rewards the answer that was drawn first counts."""
    pairs: list[dict[str, Any]] = []
    left_out = dict.fromkeys((CUT, TOO_FEW, EQUAL, CLOSE), 0)
    rewards: list[float] = []
    bests: list[float] = []
    for row in rows:
        whole = [answer for answer in row["answers"] if answer["ended"]]
        left_out[CUT] += len(row["answers"]) - len(whole)
        rewards += [answer["reward"] for answer in whole]
        bests += [max(answer["reward"] for answer in whole)] if whole else []
        if len(whole) < 2:
            left_out[TOO_FEW] += 1
            continue
        best = max(whole, key=lambda answer: answer["reward"])
        worst = min(whole, key=lambda answer: answer["reward"])
        gap = best["reward"] - worst["reward"]
        if all(answer["message"] == whole[0]["message"] for answer in whole):
            left_out[EQUAL] += 1
        elif gap <= min_gap or best["message"] == worst["message"]:
            left_out[CLOSE] += 1
        else:
            chosen, rejected = (best, worst) if prefer(gap) else (worst, best)
            pairs.append(
                {
                    **_asked(row),
                    "chosen": [chosen["message"]],
                    "rejected": [rejected["message"]],
                    "margin": chosen["reward"] - rejected["reward"],
                }
            )
    return Labelled(
        pairs, left_out, fmean(rewards) if rewards else 0.0, fmean(bests) if bests else 0.0
    )


def _asked(row: RewardedPrompt) -> dict[str, Any]:
    """The prompt with what stands beside it."""
    return {key: value for key, value in row.items() if key != "answers"}
