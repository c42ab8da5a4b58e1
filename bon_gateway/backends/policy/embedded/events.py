"""What a generation reports from the worker thread to the request that waits for it."""

from __future__ import annotations

from dataclasses import dataclass

from bon_gateway.errors import PolicyError
from bon_gateway.types import Delta, Message, Sample


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A candidate that goes on has passed a checkpoint."""

    index: int
    checkpoint: int
    message: Message
    """What it says so far."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate was stopped and will not be reported."""

    index: int


Event = Sample | Delta | Unfinished | Dropped | PolicyError
"""The error says that all candidates which have not ended are lost."""
