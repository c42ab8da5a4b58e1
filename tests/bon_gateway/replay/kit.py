"""Candidate logs for tests, and settings that replay them."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bon_gateway.replay.clock import VirtualLoop
from bon_gateway.replay.log import read_log
from bon_gateway.replay.pools import PoolSet, pool_set
from bon_gateway.replay.settings import ReplaySettings

T = TypeVar("T")


def virtual(work: Coroutine[Any, Any, T]) -> T:
    """Runs it in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def candidate(index: int, **values: Any) -> dict[str, Any]:
    return {
        "index": index,
        "status": "finished",
        "finish_reason": "stop",
        "reward": float(index),
        "tokens": 10,
        "message": {"role": "assistant", "content": f"answer {index}"},
        "reason": None,
        **values,
    }


def candidates(
    rewards: Sequence[float | None],
    *,
    tokens: Sequence[int] | None = None,
    golds: Sequence[float] | None = None,
    texts: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    found = []
    for index, reward in enumerate(rewards):
        more: dict[str, Any] = {"reward": reward}
        if tokens is not None:
            more["tokens"] = tokens[index]
        if golds is not None:
            more["gold"] = golds[index]
        if texts is not None:
            more["message"] = {"role": "assistant", "content": texts[index]}
        found.append(candidate(index, **more))
    return found


def line(drawn: Sequence[Mapping[str, Any]], prompt: str = "?", **values: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "ts": "2026-01-01T00:00:00.000Z",
        "request_id": "r",
        "model": "served",
        "policy": "base",
        "policy_revision": None,
        "reward": "rm",
        "strategy": "best_of_n",
        "n": len(drawn),
        "messages": [{"role": "user", "content": prompt}],
        "sampling": {"temperature": 1.0},
        "seed": None,
        "candidates": list(drawn),
        "winner": 0,
        "degraded": None,
        "error": None,
        **values,
    }


def write(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    data = "".join(json.dumps(one) + "\n" for one in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read(path: Path, model: str | None = None, at_least: int = 1) -> PoolSet:
    return pool_set(read_log([path]), model, at_least)


def settings_of(path: Path, strategies: Mapping[str, Any], **more: Any) -> ReplaySettings:
    tree = {
        "pools": [str(path)],
        "strategies": strategies,
        "permutations": 3,
        "resamples": 100,
        "output": str(path.parent / "out"),
        **more,
    }
    return ReplaySettings.model_validate(tree)
