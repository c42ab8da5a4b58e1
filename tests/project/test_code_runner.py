"""The runner under ``examples/``: what passes, what fails, and what it survives. The container
around it is not tested here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bon_gateway.types import RewardRequest
from bon_gateway.verdicts import VerdictOutcome
from bon_gateway.verifiers.http import HttpVerifierSettings

RUNNER = Path(__file__).resolve().parents[2] / "examples" / "code_runner" / "runner.py"
TESTS = "assert add(1, 2) == 3"
RIGHT = "Here:\n```python\ndef add(a, b):\n    return a + b\n```"


@pytest.fixture
def url() -> Iterator[str]:
    command = [sys.executable, str(RUNNER), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().rpartition(" ")[2].strip()
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def block(code: str) -> str:
    return f"```python\n{code}\n```"


@pytest.mark.parametrize(
    ("answer", "tests", "outcome", "reason"),
    [
        (RIGHT, TESTS, "pass", None),
        (block("def add(a, b): return a - b"), TESTS, "fail", "tests_failed"),
        (block("def add(a, b)"), TESTS, "fail", "tests_failed"),
        ("The answer is 3.", TESTS, "fail", "no_code"),
        (block("add = 1\n") + RIGHT, TESTS, "pass", None),
        # Ending at once, with success, is no passed test; neither is printing.
        (block("import os; os._exit(0)"), TESTS, "fail", "tests_failed"),
        (block("print('ok'); raise SystemExit(0)"), TESTS, "fail", "tests_failed"),
        (block("while True: pass"), TESTS, "fail", "too_slow"),
        (block("x = 'x' * 2**33"), TESTS, "fail", "tests_failed"),
        (block("open('f', 'w').write('x' * 2**22)"), TESTS, "fail", "tests_failed"),
        (block("while True: print('x' * 10_000)"), TESTS, "fail", "tests_failed"),
        (RIGHT, None, "abstain", "no_tests"),
    ],
)
async def test_verdicts(
    url: str, answer: str, tests: str | None, outcome: str, reason: str | None
) -> None:
    settings = HttpVerifierSettings(type="http", url=url, timeout_s=60)
    verifier = settings.build(lambda _: None)
    await verifier.start()
    metadata = {} if tests is None else {"tests": tests}
    request = RewardRequest([{"role": "user", "content": "?"}], metadata=metadata)
    [found] = await verifier.verify(request, [{"role": "assistant", "content": answer}])
    await verifier.close()
    assert (found.outcome, found.reason) == (outcome, reason)


async def test_a_body_that_is_none_is_refused(url: str) -> None:
    settings = HttpVerifierSettings(type="http", url=url, timeout_s=60, retries=0)
    verifier = settings.build(lambda _: None)
    await verifier.start()
    [found] = await verifier.verify(RewardRequest([]), ["no message"])  # type: ignore[list-item]
    await verifier.close()
    assert found.outcome is VerdictOutcome.ABSTAIN
