"""Short ways to write preference data down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers.base.data import Message
from trainers.preferences.readers import AUTO, read_preferences
from trainers.preferences.readers.options import ReadOptions
from trainers.preferences.records import Preference
from trainers.preferences.tally import Tally


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def bot(text: str) -> Message:
    return {"role": "assistant", "content": text}


def write_lines(path: Path, *lines: Mapping[str, Any] | str) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    # Not splitlines, which also parts at characters that JSON may hold as they are.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def read(
    path: Path,
    *,
    skip_bad: bool = False,
    format_name: str = AUTO,
    options: ReadOptions | None = None,
) -> tuple[list[Preference], Tally]:
    tally = Tally(skip_bad=skip_bad)
    found = list(read_preferences(path, tally, format_name=format_name, options=options))
    return found, tally


def log_line(*candidates: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A line of the gateway's candidate log."""
    line: dict[str, Any] = {
        "v": 1,
        "ts": "2026-01-31T12:00:00.123Z",
        "request_id": "r-1",
        "model": "demo",
        "policy": "local",
        "policy_revision": "3",
        "reward": "helpful",
        "strategy": "best_of_n",
        "n": len(candidates),
        "messages": [user("hi")],
        "sampling": {"temperature": 0.8},
        "seed": 7,
        "candidates": list(candidates),
        "winner": 0,
        "degraded": None,
        "error": None,
    }
    return line | changes


def log_candidate(index: int, text: str, reward: float | None, **changes: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {
        "index": index,
        "status": "finished",
        "finish_reason": "stop",
        "reward": reward,
        "tokens": 3,
        "message": {"role": "assistant", "content": text, "tool_calls": None},
        "reason": None,
    }
    return candidate | changes
