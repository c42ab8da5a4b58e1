"""Pools made by hand, and the study's modules."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tests.benchmarks import programs


def module(name: str) -> ModuleType:
    """A module of the study."""
    return programs.module(f"real_study.{name}")


def candidate(
    text: str, gold: float, reward: float | None = None, *, finished: bool = True, **more: Any
) -> dict[str, Any]:
    """As a pool's file has it."""
    return {
        "status": "finished" if finished else "truncated",
        "finish_reason": "stop" if finished else "length",
        "reward": reward,
        "tokens": len(text.split()) + 1,
        "message": {"role": "assistant", "content": text},
        "reason": None,
        "gold": gold,
        **more,
    }


def line(
    prompt: str, candidates: list[dict[str, Any]], winner: int = 0, **more: Any
) -> dict[str, Any]:
    """A prompt's."""
    return {
        "v": 1,
        "request_id": f"arm-tag-{prompt}",
        "model": "sft",
        "policy": "sft",
        "messages": [{"role": "user", "content": prompt}],
        "candidates": [{"index": place, **one} for place, one in enumerate(candidates)],
        "winner": winner,
        "degraded": None,
        "error": None,
        "task": "sums",
        **more,
    }
