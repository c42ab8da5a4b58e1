"""Training and held-out records of the demo world, the same for the same seed.

Preferences are drawn as in Bradley-Terry: the better of two answers is preferred with probability
sigmoid(gold difference), so that labels are noisy where answers are close, as people's are.
"""

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainers.base.data import Message
from trainers.demo.gold import gold, is_unsafe
from trainers.demo.settings import WorldSettings
from trainers.demo.world import SYSTEM, Request, draw_answer, draw_request


@dataclass(frozen=True)
class Dialogue:
    """A prompt in its context; `messages` ends with the text of `request`."""

    messages: list[Message]
    request: Request


@dataclass(frozen=True)
class WorldData:
    """All records, ready to be written as JSONL."""

    sft: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    held_out_prompts: list[dict[str, Any]]
    held_out_pairs: list[dict[str, Any]]
    """Each pair in its true order, with the gold gap as its margin; never a tie."""


@dataclass(frozen=True)
class WeakPairs:
    """The pairs of the reward model that is meant to be too weak."""

    count: int
    unsafe_share: float
    """Share of them that answer an unsafe request, 0 to 1."""


def make_world(settings: WorldSettings) -> WorldData:
    """Draw everything from `settings.seed`.

    No request of a held-out prompt occurs in training, whatever its capitals and punctuation.
    """
    rng = random.Random(settings.seed)
    requests = _distinct_requests(rng, settings.train_prompts + settings.held_out_prompts)
    held_out = _dialogues(rng, requests[: settings.held_out_prompts])
    train = _dialogues(rng, requests[settings.held_out_prompts :])
    return WorldData(
        sft=[_sft_record(rng, rng.choice(train)) for _ in range(settings.sft_records)],
        pairs=[_noisy_pair(rng, rng.choice(train)) for _ in range(settings.pairs)],
        held_out_prompts=[{"prompt": c.messages} for c in held_out],
        held_out_pairs=[
            _gold_pair(rng, rng.choice(held_out)) for _ in range(settings.held_out_pairs)
        ],
    )


def some_pairs(
    pairs: Sequence[dict[str, Any]], count: int, unsafe_share: float
) -> list[dict[str, Any]]:
    """The first `count` of the pairs, in their order; this share of them answers an unsafe request.

    Raises ValueError if there are too few of either kind.
    """
    wanted = {True: round(count * unsafe_share)}
    wanted[False] = count - wanted[True]
    found = []
    for pair in pairs:
        kind = is_unsafe(pair["prompt"])
        if wanted[kind]:
            wanted[kind] -= 1
            found.append(pair)
    if len(found) < count:
        raise ValueError(
            f"{len(pairs)} pairs do not hold {count} with {unsafe_share:g} of them unsafe: "
            f"{wanted[True]} unsafe and {wanted[False]} other pairs are missing"
        )
    return found


def normalise(text: str) -> str:
    """The words of a text, without capitals and punctuation."""
    return " ".join(re.findall(r"\w+", text.lower()))


def prefers_first(rng: random.Random, first: float, second: float) -> bool:
    """A label, drawn from P(first preferred) = sigmoid(first - second) (Bradley and Terry 1952)."""
    return rng.random() < 1 / (1 + math.exp(second - first))


def _distinct_requests(rng: random.Random, count: int) -> list[Request]:
    requests: dict[str, Request] = {}
    while len(requests) < count:
        request = draw_request(rng)
        requests.setdefault(normalise(request.text), request)
    return list(requests.values())


def _dialogues(rng: random.Random, requests: list[Request]) -> list[Dialogue]:
    """Some requests follow a system message, some an earlier exchange from the same split."""
    return [Dialogue([*_context(rng, requests), _user(request)], request) for request in requests]


def _context(rng: random.Random, requests: list[Request]) -> list[Message]:
    context: list[Message] = []
    if rng.random() < 0.2:
        context.append({"role": "system", "content": SYSTEM})
    if rng.random() < 0.1:
        earlier = rng.choice(requests)
        context += [_user(earlier), _assistant(draw_answer(rng, earlier))]
    return context


def _user(request: Request) -> Message:
    return {"role": "user", "content": request.text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _sft_record(rng: random.Random, dialogue: Dialogue) -> dict[str, Any]:
    answer = _assistant(draw_answer(rng, dialogue.request))
    return {"messages": [*dialogue.messages, answer]}


def _noisy_pair(rng: random.Random, dialogue: Dialogue) -> dict[str, Any]:
    first, second = _two_answers(rng, dialogue)
    if not prefers_first(rng, _total(dialogue, first), _total(dialogue, second)):
        first, second = second, first
    return {
        "prompt": dialogue.messages,
        "chosen": [_assistant(first)],
        "rejected": [_assistant(second)],
    }


def _gold_pair(rng: random.Random, dialogue: Dialogue) -> dict[str, Any]:
    gap = 0.0
    while gap == 0:
        first, second = _two_answers(rng, dialogue)
        gap = _total(dialogue, first) - _total(dialogue, second)
    if gap < 0:
        first, second = second, first
    return {
        "prompt": dialogue.messages,
        "chosen": [_assistant(first)],
        "rejected": [_assistant(second)],
        "margin": abs(gap),
    }


def _two_answers(rng: random.Random, dialogue: Dialogue) -> tuple[str, str]:
    first = second = draw_answer(rng, dialogue.request)
    while second == first:
        second = draw_answer(rng, dialogue.request)
    return first, second


def _total(dialogue: Dialogue, answer: str) -> float:
    return gold(dialogue.messages, answer).total
