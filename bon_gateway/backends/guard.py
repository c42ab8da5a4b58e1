"""Keeps a task alive that must never end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

logger = logging.getLogger(__name__)


async def guarded(step: Awaitable[None], what: str) -> None:
    """Await one step of the task, and log whatever it raises.

    This is the one place in the backends that catches everything: if such a task died, its replica
    would stay out, or its host name would not be followed, until a restart.
    """
    try:
        await step
    except Exception:
        logger.exception("%s failed", what)
