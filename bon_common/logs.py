"""The logs of both servers, with uvicorn's and the libraries': one JSON object a line on stderr.

``extra={"fields": {...}}`` adds fields to a line. Nothing that clients send or models answer is
logged, not even an exception's message, which may quote it.
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
"""Loggers whose lines at level info are of no use to an operator."""


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
    """Writes each record with one call, where ``logging``'s own handler makes a dozen."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(f"{self.format(record)}\n")
            self.stream.flush()
        except Exception:  # noqa: BLE001 - like every handler: a failing log stops no work
            self.handleError(record)


class Repeated:
    """Logs one message again and again, with other fields each time.

    Each record is a copy of the first one of its level. ``logging`` would look up the calling line,
    the thread and the process each time, which takes longer than all the rest, and this format
    does not show them.
    """

    def __init__(self, logger: logging.Logger, message: str) -> None:
        self._logger = logger
        self._message = message
        self._first: dict[int, dict[str, object]] = {}

    def log(self, level: int, fields: Mapping[str, object]) -> None:
        """The caller must have checked that ``level`` is logged at all."""
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
    # This format shows neither thread nor process, so records need not look them up.
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
    # Rounded to microseconds first, because as a float 0.123 s is a little less than that. The
    # fraction is split off before, as datetime does: multiplying the whole would round twice.
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
