"""The logs of both servers: one JSON object a line on stderr, uvicorn's and the libraries' too.

A record's own fields come by ``extra={"fields": {...}}``. What clients send and what models answer
is never logged: not even by an exception's message, which may quote it.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson

QUIET = ("uvicorn", "uvicorn.error", "asyncio", "aiohttp", "httpx", "transformers")
"""Loggers whose word at level info tells an operator nothing."""


class JsonFormatter(logging.Formatter):
    """``ts`` (UTC, ISO 8601), ``level``, ``logger``, ``message``, then the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "ts": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if fields:
            entry.update(fields)
        if record.exc_info and record.exc_info[1] is not None:
            entry["traceback"] = list(frames(record.exc_info[1]))
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure(level: str) -> None:
    """Send all logging of this process to stderr as JSON, from ``level`` (``info``, ...) on."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    # What no line of this format tells, no record need find out.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    logging.captureWarnings(True)
    for name in QUIET:
        quiet = logging.getLogger(name)
        quiet.handlers.clear()
        quiet.propagate = True
        quiet.setLevel(threshold if threshold <= logging.DEBUG else max(threshold, logging.WARNING))


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as ``2026-01-31T12:00:00.123Z``."""
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.removesuffix("+00:00") + "Z"


def frames(error: BaseException) -> Iterator[str]:
    """The traceback of an exception, of its causes and of a group's members, outermost first.

    Types and places only: a message such as pydantic's quotes what it was given.
    """
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from frames(before)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{frame.filename}:{frame.lineno} in {frame.name}"
    yield f"{type(error).__module__}.{type(error).__qualname__}"
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from frames(member)
