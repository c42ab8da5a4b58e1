"""Counts how often a test that may try again had to, and fails the run above a limit.

A single further try means that the machine was busy. Many of them mean that something has become
slow or wrong, which the tries would hide.
"""

from __future__ import annotations

import pytest

PROPERTY = "further tries"


class Repeats:
    """Lives in the process that gathers the reports, also those of xdist's workers."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._tries: dict[str, int] = {}

    @property
    def total(self) -> int:
        return sum(self._tries.values())

    @property
    def too_many(self) -> bool:
        return self._limit is not None and self.total > self._limit

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        for name, value in report.user_properties:
            if name == PROPERTY:
                assert isinstance(value, int)
                self._tries[report.nodeid] = value

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.too_many and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._tries:
            return
        terminalreporter.section("further tries")
        for test, tries in sorted(self._tries.items()):
            terminalreporter.line(f"{tries} {test}")
        allowed = "" if self._limit is None else f", {self._limit} are allowed"
        terminalreporter.line(f"{self.total} in all{allowed}", red=self.too_many)
