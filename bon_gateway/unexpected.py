"""Logs an unexpected exception by its type and its place.

The message is left out, because it may quote a prompt, an answer or a key.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

FRAMES = 4
"""Number of innermost places that a line names."""


def log_unexpected(
    logger: logging.Logger, what: str, error: Exception, fields: dict[str, Any]
) -> None:
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    logger.error(
        what, extra={"fields": {**fields, "error": type(error).__name__, "at": " > ".join(places)}}
    )
