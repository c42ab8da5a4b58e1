"""Whether answers fit the schemas of a request, in bounded time.

A schema is examined when the first answer needs it, and is then known by its hash. A cheap one
(``cost``) is checked in place, in microseconds. All others go to the checking process
(``checker``). If the time is not enough, the result is unknown.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson
from jsonschema_rs import Validator

from bon_gateway.errors import BadRequestError
from bon_gateway.schemas import worker
from bon_gateway.schemas.checker import Checker, GaveUpError
from bon_gateway.schemas.cost import Cost, weigh
from bon_gateway.schemas.dialects import compile_small

MOST_KNOWN = 1024
MOST_KNOWN_BYTES = 4 * 1024 * 1024
"""JSON bytes of all schemas whose validators are kept. A validator takes a few times as much."""
LARGEST_INLINE = 64 * 1024
"""Bytes of the largest schema that is compiled on the event loop."""
GIVEN_UP_S = 60.0
"""Seconds for which a schema that took too long is not tried again."""

_log = logging.getLogger(__name__)


class Fit(Enum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """The limits did not allow an answer."""


@dataclass(slots=True)
class Known:
    """What is known about a schema."""

    size: int
    """Bytes of JSON that count for it towards ``MOST_KNOWN_BYTES``."""
    validator: Validator | None = None
    """Set, together with ``cost``, if it may be checked on the event loop."""
    cost: Cost | None = None
    refusal: str | None = None
    """Why it is not a JSON schema."""
    given_up_until: float = 0.0


class SchemaChecks:
    """Everything that one gateway knows about schemas. ``limit_s`` is the CPU time for checking one
    answer, unless a ``checker`` is given. ``close`` ends the checking process."""

    def __init__(self, limit_s: float = 0.25, checker: Checker | None = None) -> None:
        self._checker = checker or Checker(limit_s)
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._bytes = 0

    def schema(self, raw: Any) -> Schema:
        return Schema(raw, self, self._checker)

    def known(self, data: bytes, raw: Any) -> Known:
        key = hashlib.blake2b(data, digest_size=16).digest()
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        known = self._known[key] = _first_look(data, raw)
        self._bytes += known.size
        while len(self._known) > MOST_KNOWN or self._bytes > MOST_KNOWN_BYTES:
            self._bytes -= self._known.popitem(last=False)[1].size
        return known

    async def close(self) -> None:
        await self._checker.close()


def _first_look(data: bytes, raw: Any) -> Known:
    cost = weigh(raw) if len(data) <= LARGEST_INLINE else None
    validator = None if cost is None else compile_small(raw)
    if validator is None:
        return Known(size=0)
    return Known(len(data), validator, cost)


class Schema:
    """One schema of one request."""

    __slots__ = ("_checker", "_checks", "_data", "_known", "_raw")

    def __init__(self, raw: Any, checks: SchemaChecks, checker: Checker) -> None:
        self._raw = raw
        self._checks = checks
        self._checker = checker
        self._data: bytes | None = None
        self._known: Known | None = None

    def fits(self, text: str, value: Any) -> bool | None:
        """Whether ``value``, whose JSON is ``text``, fits. None means that only ``ask`` can tell.

        Everything fits something that is not a JSON schema.
        """
        known = self._look()
        if known.refusal is not None:
            return True
        if known.validator is None or known.cost is None or not known.cost.cheap(text):
            return None
        try:
            return known.validator.is_valid(value)
        except ValueError:  # nested deeper than the library follows
            return None

    async def ask(self, text: str) -> Fit:
        """Whether ``text`` fits, for any schema and in bounded time."""
        known = self._look()
        reply = await self._reply(known, text.encode())
        if reply == worker.FITS or known.refusal is not None:
            return Fit.YES
        return Fit.NO if reply == worker.VIOLATES else Fit.UNKNOWN

    async def admit(self, param: str) -> None:
        """Raises BadRequestError naming ``param`` if no dialect of JSON schema accepts it."""
        known = self._look()
        if known.validator is None and known.refusal is None:
            await self._reply(known, None)
        if known.refusal is not None:
            raise BadRequestError(f"{param} is not a JSON schema: {known.refusal}", param=param)

    async def _reply(self, known: Known, answer: bytes | None) -> bytes:
        if self._given_up(known):
            return worker.UNKNOWN
        assert self._data is not None, "it was looked at"
        try:
            code, reason = await self._checker.ask(self._data, answer)
        except GaveUpError as error:
            if error.own_fault:
                known.given_up_until = time.monotonic() + GIVEN_UP_S
            _log.warning(
                "an answer was not checked against its schema",
                extra={"fields": {"reason": error.reason, "schema_bytes": len(self._data)}},
            )
            return worker.UNKNOWN
        if code == worker.NO_SCHEMA:
            known.refusal = reason
        elif code == worker.UNREADABLE:
            known.given_up_until = float("inf")
        return code

    def _look(self) -> Known:
        if self._known is None:
            try:
                self._data = orjson.dumps(self._raw)
            except orjson.JSONEncodeError:  # nested deeper than can be written
                self._data = b""
                self._known = Known(size=0, given_up_until=float("inf"))
            else:
                self._known = self._checks.known(self._data, self._raw)
        return self._known

    @staticmethod
    def _given_up(known: Known) -> bool:
        return known.given_up_until > time.monotonic()
