from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bon_common.logs import JsonFormatter, LineHandler, Repeated, frames, timestamp


def entry(**attributes: object) -> dict[str, object]:
    plain = {"name": "x", "levelname": "INFO", "msg": "a %s", "args": ("b",), "created": 0.5}
    record = logging.makeLogRecord(plain | attributes)
    parsed: dict[str, object] = json.loads(JsonFormatter().format(record))
    return parsed


def test_one_object_a_line() -> None:
    plain = {"ts": "1970-01-01T00:00:00.500Z", "level": "info", "logger": "x", "message": "a b"}
    assert entry() == plain
    assert entry(fields={"n": 8, "odd": object}) == {**plain, "n": 8, "odd": "<class 'object'>"}
    assert "\n" not in JsonFormatter().format(logging.makeLogRecord({"msg": "two\nlines"}))


def test_a_timestamp_rounds_down() -> None:
    assert timestamp(1.9999) == "1970-01-01T00:00:01.999Z"


@given(st.floats(0, 4_000_000_000))
@example(1769860800.123)
@example(1769860799.9999999)
@example(3599762015.0689993)
def test_a_timestamp_is_the_datetime_of_the_library(seconds: float) -> None:
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    assert timestamp(seconds) == moment.replace("+00:00", "Z")


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


def test_a_repeated_message_has_its_own_level_time_and_fields_each_time() -> None:
    logger, handler = logging.getLogger("test.repeated"), Lines()
    logger.addHandler(handler)
    try:
        repeated = Repeated(logger, "again")
        before = timestamp(time.time())
        for level, number in ((logging.INFO, 1), (logging.DEBUG, 2), (logging.INFO, 3)):
            repeated.log(level, {"number": number})
    finally:
        logger.removeHandler(handler)
    told = [(e["level"], e["logger"], e["message"], e["number"]) for e in handler.lines]
    assert told == [
        ("info", "test.repeated", "again", 1),
        ("debug", "test.repeated", "again", 2),
        ("info", "test.repeated", "again", 3),
    ]
    times = [str(e["ts"]) for e in handler.lines]
    assert [before, *times] == sorted([before, *times])


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("no space left")


def test_a_line_that_cannot_be_written_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    handler = LineHandler(Broken())
    handler.handle(logging.makeLogRecord({"msg": "x"}))
    assert "no space left" in capsys.readouterr().err


def raised() -> BaseException:
    try:
        try:
            raise ValueError("secret one")
        except ValueError as error:
            raise ExceptionGroup("secret two", [KeyError("secret three")]) from error
    except ExceptionGroup as error:
        return error


def test_a_traceback_tells_types_and_places_and_no_message() -> None:
    lines = list(frames(raised()))
    assert [line for line in lines if " in " not in line] == [
        "builtins.ValueError",
        "builtins.ExceptionGroup",
        "builtins.KeyError",
    ]
    assert any(line.endswith("in raised") for line in lines)
    error = raised()
    logged = entry(exc_info=(type(error), error, error.__traceback__))
    assert logged["traceback"]
    assert "secret" not in json.dumps(logged)


def test_everything_goes_to_stderr_as_json() -> None:
    script = """
import logging, warnings
from bon_common import logs
logs.configure("info")
logs.configure("info")
logging.getLogger("bon_gateway.x").info("one")
logging.getLogger("bon_gateway.x").debug("too low")
logging.getLogger("uvicorn.error").info("chatter")
logging.getLogger("uvicorn.error").error("two")
warnings.warn("three")
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(e["logger"], e["level"]) for e in entries] == [
        ("bon_gateway.x", "info"),
        ("uvicorn.error", "error"),
        ("py.warnings", "warning"),
    ]
    assert done.stdout == ""
