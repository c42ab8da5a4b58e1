from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bon_gateway.metrics import MULTIPROCESS_VARIABLE, Metrics
from bon_gateway.recording.files import LogFiles
from bon_gateway.recording.recorder import FileRecorder, Recorder, build_recorder
from bon_gateway.sections.recording import RecordingSettings
from tests.bon_gateway.recording.kit import entry, records, request, selection

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    monkeypatch.delenv(MULTIPROCESS_VARIABLE, raising=False)
    return Metrics(["assistant"])


def counts(metrics: Metrics) -> dict[str, float]:
    found = {
        outcome: metrics.registry.get_sample_value("bon_recorded_total", {"outcome": outcome})
        for outcome in ("written", "dropped", "failed")
    }
    return {outcome: value for outcome, value in found.items() if value is not None}


@dataclass
class Disk(LogFiles):
    """Lines in memory, on a disk that may be full or stuck."""

    errors: list[BaseException | None] = field(default_factory=list)
    """What becomes of each write in turn; afterwards all go well."""
    lines: list[Any] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    stuck: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    closed: bool = False

    def append(self, line: bytes) -> None:
        self.threads.add(threading.current_thread().name)
        self.begun.set()
        self.stuck.wait(20)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.lines.append(json.loads(line))

    def close(self) -> None:
        self.closed = True


def recorder(disk: Disk, metrics: Metrics, **settings: Any) -> FileRecorder:
    return FileRecorder(RecordingSettings(folder="x", **settings), disk, metrics)


def writer_ends() -> None:
    for thread in threading.enumerate():
        if thread.name == "recording":
            thread.join(20)
            assert not thread.is_alive()


def test_a_thread_of_its_own_writes_and_closing_waits_for_it(metrics: Metrics) -> None:
    disk = Disk()
    made = recorder(disk, metrics)
    made.start()
    for number in range(50):
        made.record(entry(request(request_id=f"req-{number}"), selection()))
    assert disk.lines == []  # none of it was written by this thread, which goes on
    disk.stuck.set()
    made.close()
    assert [line["request_id"] for line in disk.lines] == [f"req-{i}" for i in range(50)]
    assert disk.threads == {"recording"}
    assert disk.closed
    assert counts(metrics) == {"written": 50}


def test_a_full_queue_drops_and_counts(metrics: Metrics) -> None:
    disk = Disk()
    made = recorder(disk, metrics, queue=3)
    made.start()
    made.record(entry())
    assert disk.begun.wait(20)  # the writer holds this one, so the queue is empty
    for _ in range(5):
        made.record(entry())
    disk.stuck.set()
    made.close()
    assert len(disk.lines) == 4
    assert counts(metrics) == {"written": 4, "dropped": 2}


def test_a_full_disk_costs_records_and_is_told_once_a_spell(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    full = OSError(28, "No space left on device")
    disk = Disk(errors=[None, full, full, None, full])
    disk.stuck.set()
    made = recorder(disk, metrics)
    with caplog.at_level(logging.INFO, "bon_gateway.recording"):
        made.start()
        for number in range(6):
            made.record(entry(request(request_id=f"req-{number}")))
        made.close()
    assert [line["request_id"] for line in disk.lines] == ["req-0", "req-3", "req-5"]
    assert counts(metrics) == {"written": 3, "failed": 3}
    lost, again = "records cannot be written; they are lost", "records are written again"
    assert [record.getMessage() for record in caplog.records] == [lost, again, lost, again]
    fields = {"error": "OSError", "reason": "No space left on device"}
    assert caplog.records[0].fields == fields  # type: ignore[attr-defined]


def test_what_is_no_json_is_lost_alone_and_not_quoted(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk()
    disk.stuck.set()
    made = recorder(disk, metrics)
    made.start()
    made.record(entry(request(sampling={"secret": {1, 2}})))
    made.record(entry())
    made.close()
    assert len(disk.lines) == 1
    assert counts(metrics) == {"written": 1, "failed": 1}
    assert "secret" not in "".join(str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("redact", [(), ("secret",)])
@pytest.mark.parametrize("deep", [300, 450, 3000])
def test_what_is_nested_too_deeply_is_lost_alone(
    metrics: Metrics, redact: tuple[str, ...], deep: int
) -> None:
    nested: Any = "secret"
    for _ in range(deep):
        nested = {"a": nested}
    disk = Disk()
    disk.stuck.set()
    made = recorder(disk, metrics, redact=redact)
    made.start()
    made.record(entry(request(sampling={"tools": nested})))
    made.record(entry())
    made.close()
    assert len(disk.lines) == 1
    assert counts(metrics) == {"written": 1, "failed": 1}


@given(
    st.recursive(
        st.one_of(
            st.text(), st.integers(), st.floats(), st.none(), st.binary(), st.sets(st.text())
        ),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=5,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_value_ends_the_writer(metrics: Metrics, value: Any) -> None:
    disk = Disk()
    disk.stuck.set()
    before = sum(counts(metrics).values())
    made = recorder(disk, metrics, redact=(r"\d{5}",))
    made.start()
    made.record(entry(request(sampling={"x": value})))
    made.record(entry())
    made.close()
    assert disk.lines[-1]["sampling"] == entry().request.sampling
    assert sum(counts(metrics).values()) == before + 2


# The writer is killed on purpose.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_died_is_seen_and_starts_again(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(errors=[None, SystemExit()])
    disk.stuck.set()
    made = recorder(disk, metrics)
    made.start()
    for number in range(2):
        made.record(entry(request(request_id=f"req-{number}")))
    writer_ends()
    made.record(entry(request(request_id="req-2")))
    made.close()
    assert [line["request_id"] for line in disk.lines] == ["req-0", "req-2"]
    assert counts(metrics) == {"written": 2, "failed": 1}
    assert metrics.registry.get_sample_value("bon_recorder_restarts_total") == 1
    died = "the candidate log's writer died; it starts again"
    assert [record.getMessage() for record in caplog.records] == [died]


# The writer is killed on purpose.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_died_still_writes_what_waits_when_the_process_ends(metrics: Metrics) -> None:
    disk = Disk(errors=[SystemExit()])
    made = recorder(disk, metrics)
    made.start()
    for number in range(3):
        made.record(entry(request(request_id=f"req-{number}")))
    disk.stuck.set()
    writer_ends()
    made.close()
    assert [line["request_id"] for line in disk.lines] == ["req-1", "req-2"]
    assert counts(metrics) == {"written": 2, "failed": 1}


def test_redaction_and_the_share_come_from_the_settings(metrics: Metrics) -> None:
    disk = Disk()
    disk.stuck.set()
    made = recorder(disk, metrics, redact=("toys",), redact_fields=("role",), sampling=False)
    made.start()
    made.record(entry(chosen=selection("toys!")))
    made.close()
    (line,) = disk.lines
    assert line["messages"] == [{"content": "name three [redacted]"}]
    assert line["candidates"][0]["message"] == {"content": "[redacted]!"}
    assert line["sampling"] == {}
    assert recorder(disk, metrics).wants("any")
    assert not recorder(disk, metrics, sample_rate=0.0).wants("any")


def test_off_by_default(metrics: Metrics) -> None:
    made = build_recorder(RecordingSettings(), metrics)
    assert type(made) is Recorder
    assert not made.wants("any")


def test_an_unwritable_folder_costs_records_only(metrics: Metrics, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    made = build_recorder(RecordingSettings(folder=str(tmp_path / "file" / "log")), metrics)
    made.start()
    made.record(entry())
    made.close()
    assert counts(metrics) == {"failed": 1}


WORKER = """
import sys
from bon_gateway.metrics import Metrics
from bon_gateway.recording.recorder import build_recorder
from bon_gateway.sections.recording import RecordingSettings
from tests.bon_gateway.recording.kit import entry, request, selection
folder, name = sys.argv[1:]
settings = RecordingSettings(folder=folder, max_bytes=20000, gzip=False, keep=99)
made = build_recorder(settings, Metrics())
made.start()
print("started", flush=True)
sys.stdin.readline()
for number in range(300):
    made.record(entry(request(request_id=f"{name}-{number}"), selection("word " * 50)))
made.close()
"""


def test_workers_share_a_folder_and_no_file(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for name in ("a", "b")
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "started\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.wait(60) == 0
        worker.communicate()
    ids = [record["request_id"] for record in records(tmp_path)]
    assert sorted(ids) == sorted(f"{name}-{i}" for name in ("a", "b") for i in range(300))
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert ('"a-' in text) != ('"b-' in text)
