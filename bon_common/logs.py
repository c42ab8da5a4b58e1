"""The logs of both servers: one JSON object a line on stderr, uvicorn's and the libraries' too.

A record's own fields come by ``extra={"fields": {...}}``. What clients send and what models answer
is never logged: not even by an exception's message, which may quote it.
"""

from __future__ import annotations

import logging
import math
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TextIO

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


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes each record with one call; ``logging``'s own handler makes a dozen for it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(f"{self.format(record)}\n")
            self.stream.flush()
        except Exception:  # noqa: BLE001 - as every handler: a log that fails stops no work
            self.handleError(record)


class Repeated:
    """Logs one message again and again, with other fields each time.

    Each record is a copy of the first of its level. ``logging`` would look up the calling line, the
    thread and the process of each. No line of this format has them, and that takes longer than all
    the rest.
    """

    def __init__(self, logger: logging.Logger, message: str) -> None:
        self._logger = logger
        self._message = message
        self._first: dict[int, dict[str, object]] = {}

    def log(self, level: int, fields: Mapping[str, object]) -> None:
        """The caller has checked that ``level`` is logged at all."""
        first = self._first.get(level)
        if first is None:
            name, message = self._logger.name, self._message
            first = vars(logging.LogRecord(name, level, "", 0, message, None, None))
            self._first[level] = first
        now = time.time()
        record = logging.LogRecord.__new__(logging.LogRecord)
        vars(record).update(first, created=now, msecs=now % 1 * 1000, fields=fields)
        self._logger.handle(record)


def configure(level: str) -> None:
    """Send all logging of this process to stderr as JSON, from ``level`` (``info``, ...) on."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    # What no line of this format tells, no record need find out.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = LineHandler(sys.stderr)
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
    # Rounded to microseconds first: as a float, .123 s is a little less than that. The fraction is
    # taken off before, as datetime does: the product of all of it would be rounded twice.
    fraction, whole = math.modf(seconds)
    carried, micros = divmod(round(fraction * 1_000_000), 1_000_000)
    return f"{_second(int(whole) + carried)}.{micros // 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    """Cached, because many lines share a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


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
