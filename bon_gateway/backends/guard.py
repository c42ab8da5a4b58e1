"""Keeps a task that must go on for ever going on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

logger = logging.getLogger(__name__)


async def guarded(step: Awaitable[None], what: str) -> None:
    """Await one step of the task.

    The one place of the backends where anything is caught: a task that dies would leave its
    replica out, or its name unfollowed, for ever, whatever it stumbled over.
    """
    try:
        await step
    except Exception:
        logger.exception("%s failed", what)
