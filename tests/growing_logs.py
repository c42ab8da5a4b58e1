"""Reads the logs of processes that are still writing them."""

from __future__ import annotations

import json
from typing import Any


def entries(log: str) -> list[dict[str, Any]]:
    """The JSON lines of a log, without a last one that is only half written."""
    whole, _, _ = log.rpartition("\n")
    return [json.loads(line) for line in whole.split("\n") if line.startswith("{")]
