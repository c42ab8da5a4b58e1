"""Entries to record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bon_gateway.errors import PolicyFailedError
from bon_gateway.recording.entry import LogEntry
from bon_gateway.testing.fakes import completion
from bon_gateway.types import (
    Candidate,
    CandidateStatus,
    ChatRequest,
    Selection,
    Timings,
    Usage,
)

AT = 1769860800.123  # 2026-01-31T12:00:00.123Z
SOURCE = ("assistant", "base", "v7", "helpful")


def request(**changes: Any) -> ChatRequest:
    values: dict[str, Any] = {
        "messages": [{"role": "user", "content": "name three toys"}],
        "sampling": {"temperature": 0.9, "max_tokens": 64},
        "seed": 7,
        "top": 1,
        "request_id": "req-1",
    }
    return ChatRequest(**{**values, **changes})


def selection(text: str = "Try kite.") -> Selection:
    error = PolicyFailedError("the replica broke while it answered: secret")
    return Selection(
        winners=(0,),
        candidates=(
            Candidate(0, CandidateStatus.FINISHED, completion(text, tokens=12), 1.25, 12),
            Candidate(1, CandidateStatus.FAILED, error=error, reason=error.code),
        ),
        strategy="best_of_n",
        n=2,
        usage=Usage(5, 12, 0, 30),
        timings=Timings(0.5, 0.1),
        degraded=("candidates_failed", "deadline"),
    )


def entry(
    asked: ChatRequest | None = None,
    chosen: Selection | None = None,
    error: str | None = None,
) -> LogEntry:
    return LogEntry(AT, *SOURCE, "best_of_n", 8, asked or request(), chosen, error)


def records(folder: Path) -> list[Any]:
    """All records of the plain files in a folder, file by file."""
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
