"""Endpoints whose quality, length and failures are known, as scripts of the fake upstream."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import orjson

from bon_gateway.testing.script import Call, Step

PROMPT_TOKENS = 20


def gold(messages: object, answer: str) -> float:
    """A scorer's function: the answer is its own quality."""
    return float(answer)


def best_of_n(
    *, tokens: int, scored: int, mean: float = 0.0, reward: bool = True
) -> Callable[[Call], Step]:
    """A gateway in small: draws n standard normal qualities around ``mean``; the reward is the
    quality. Each candidate has ``tokens`` tokens, of which the reward model reads ``scored``."""

    def script(call: Call) -> Step:
        n = (call.body.get("bon") or {}).get("n", 1)
        rng = random.Random(f"{call.body['seed']} {mean}")
        drawn = [rng.gauss(mean, 1.0) for _ in range(n)]
        winner = max(range(n), key=lambda i: drawn[i])
        return Step(raw=orjson.dumps(_answer(drawn, winner, tokens, scored, reward=reward)))

    return script


def _answer(
    drawn: list[float], winner: int, tokens: int, scored: int, *, reward: bool
) -> dict[str, Any]:
    n = len(drawn)

    def message(value: float) -> dict[str, str]:
        return {"role": "assistant", "content": repr(value)}

    return {
        "choices": [{"index": 0, "message": message(drawn[winner]), "finish_reason": "stop"}],
        "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": n * tokens},
        "bon": {
            "n": n,
            "reward": drawn[winner] if reward else None,
            "candidates": [
                {
                    "index": i,
                    "status": "finished",
                    "reward": value if reward else None,
                    "tokens": tokens,
                    "message": message(value),
                }
                for i, value in enumerate(drawn)
            ],
            "usage": {
                "prompt_tokens": PROMPT_TOKENS,
                "winner_tokens": tokens,
                "discarded_tokens": (n - 1) * tokens,
                "reward_tokens": n * scored if reward else 0,
            },
            "timings_ms": {"generate": 10.0, "score": 2.0, "overhead": 0.5, "total": 12.5},
        },
    }
