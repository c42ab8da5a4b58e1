"""The process for checks that may take long: the gateway can end it.

It reads jobs from its input and writes a reply to each, in order, until its input ends. The
operating system ends it if one job uses up its CPU time or its memory, because nothing in Python
can interrupt a match. ``checker`` is the other side.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import struct
import sys
from collections import OrderedDict
from typing import BinaryIO

import orjson
from jsonschema_rs import Validator

from bon_gateway.schemas.dialects import (
    NotASchemaError,
    UnreadablePatternError,
    compile_any,
    gave_up,
)

JOB = struct.Struct("!?II")
"""Whether there is an answer to check, and how many bytes of schema and of answer follow."""
REPLY = struct.Struct("!cI")
"""One of the replies below, and how many bytes of reason follow."""
READY = b"."
FITS, VIOLATES, UNKNOWN, NO_SCHEMA, UNREADABLE = b"f", b"v", b"u", b"n", b"p"

MEMORY_BYTES = 1024**3
KEPT = 16
"""Number of validators that are kept for the next candidates of the same requests."""
NICE = 5
"""Niceness: the gateway's own loop goes first."""


def main() -> None:
    limit_s = float(sys.argv[1])
    os.nice(NICE)
    with contextlib.suppress(ValueError, OSError):  # a system that has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    serve(sys.stdin.buffer, sys.stdout.buffer, limit_s)


def serve(jobs: BinaryIO, replies: BinaryIO, limit_s: float) -> None:
    kept: OrderedDict[bytes, tuple[Validator, bool]] = OrderedDict()
    replies.write(READY)
    replies.flush()
    while head := jobs.read(JOB.size):
        has_answer, schema_size, answer_size = JOB.unpack(head)
        schema, answer = jobs.read(schema_size), jobs.read(answer_size)
        # The timer counts CPU time, so that a job is not ended because the machine is busy.
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        reply, reason = _do(kept, schema, answer if has_answer else None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        encoded = reason.encode()
        replies.write(REPLY.pack(reply, len(encoded)) + encoded)
        replies.flush()


def _do(
    kept: OrderedDict[bytes, tuple[Validator, bool]], schema: bytes, answer: bytes | None
) -> tuple[bytes, str]:
    try:
        if schema not in kept:
            kept[schema] = compile_any(orjson.loads(schema))
        kept.move_to_end(schema)
        if len(kept) > KEPT:
            kept.popitem(last=False)
        validator, backtracks = kept[schema]
        if answer is None:
            return FITS, ""
        value = orjson.loads(answer)
        if validator.is_valid(value):
            return FITS, ""
        return (UNKNOWN if backtracks and gave_up(validator, value) else VIOLATES), ""
    except UnreadablePatternError:
        return UNREADABLE, ""
    except NotASchemaError as error:
        return NO_SCHEMA, str(error)
    except (ValueError, RecursionError):
        return UNKNOWN, ""


if __name__ == "__main__":
    main()
