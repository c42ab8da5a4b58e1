"""A log is read while it grows."""

from __future__ import annotations

from tests.growing_logs import entries


def test_half_a_line_waits_for_its_end() -> None:
    log = 'listening on http://127.0.0.1:1\n{"a": 1}\n{"a": "2'
    assert entries(log) == [{"a": 1}]
    assert entries(log + '"}\n') == [{"a": 1}, {"a": "2"}]
    assert entries("") == []
