"""Repeats a test that has to catch a request in the middle.

A machine that is busy with other things may give vLLM its turn before anybody else, and then there
is nothing left to stop. A gateway that stops nothing fails every time. `tests.repeats` reports how
often a further try was needed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from tests.repeats import PROPERTY
from tests.waiting import eventually

Test = Callable[..., Awaitable[None]]
TRIES = 5
RECORD = "record_property"


def up_to_five_times(test: Test) -> Test:
    """For a test with the fixture ``engines``."""

    @functools.wraps(test)
    async def repeated(**fixtures: Any) -> None:
        record = fixtures.pop(RECORD)
        generator = fixtures["engines"].generator
        for further in range(TRIES):
            try:
                await test(**fixtures)
            except (AssertionError, TimeoutError) as error:
                if further == TRIES - 1:
                    record(PROPERTY, further)
                    raise
                print(f"again, because of: {error}")
                await eventually(lambda: generator.running == 0, 30, "vLLM is idle")
            else:
                if further:
                    record(PROPERTY, further)
                return

    # pytest reads from the signature which fixtures to pass.
    signature = inspect.signature(test)
    asked = inspect.Parameter(RECORD, inspect.Parameter.KEYWORD_ONLY)
    repeated.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), asked]
    )
    return repeated
