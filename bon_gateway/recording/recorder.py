"""Takes records off the request path and writes them in its own thread."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue

from bon_gateway.metrics import Metrics
from bon_gateway.recording.entry import LogEntry, is_sampled, to_line
from bon_gateway.recording.files import LogFiles
from bon_gateway.recording.redaction import Redaction
from bon_gateway.sections.recording import RecordingSettings

CLOSE_S = 10.0
"""Seconds that the process waits at its end for records that are not written yet."""

_log = logging.getLogger("bon_gateway.recording")


class Recorder:
    """One worker's candidate log. This one records nothing."""

    def wants(self, request_id: str) -> bool:
        """Whether to record a request with this id."""
        return False

    def record(self, entry: LogEntry) -> None:
        """Take an entry. It neither waits nor raises."""

    def start(self) -> None:
        """Begin to write."""

    def close(self) -> None:
        """Write all entries and end. It may take ``CLOSE_S`` seconds."""


class FileRecorder(Recorder):
    """Writes to files. ``record`` is called by one thread, the event loop's.

    The event loop only puts an entry into a queue, and the writer thread makes the line. If the
    queue is full, the entry is dropped. If it cannot be written, for whatever reason, it is lost
    and the next one is tried. The log says once that writing fails and once that it works again,
    and never what the entry held. If the writer dies all the same, the next entry starts a new one.
    """

    def __init__(self, settings: RecordingSettings, files: LogFiles, metrics: Metrics) -> None:
        self._settings = settings
        self._files = files
        self._metrics = metrics
        self._redaction = Redaction(settings.redact, settings.redact_fields)
        self._queue: SimpleQueue[LogEntry | None] = SimpleQueue()
        """None comes last and ends the writer."""
        self._thread: threading.Thread | None = None
        self._failing = False

    def wants(self, request_id: str) -> bool:
        return is_sampled(request_id, self._settings.sample_rate)

    def record(self, entry: LogEntry) -> None:
        self._revive()
        if self._queue.qsize() >= self._settings.queue:
            self._metrics.observe_recorded("dropped", 1)
        else:
            self._queue.put(entry)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._write, name="recording", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._revive()
        self._queue.put(None)
        if self._thread is None:
            return
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            fields = {"waiting": self._queue.qsize()}
            _log.error("the candidate log was not written in time", extra={"fields": fields})

    def _revive(self) -> None:
        if self._thread is None or self._thread.is_alive():
            return
        # The record with which it died is lost.
        self._metrics.observe_recorded("failed", 1)
        self._metrics.observe_recorder_restart()
        fields = {"waiting": self._queue.qsize()}
        _log.error("the candidate log's writer died; it starts again", extra={"fields": fields})
        self.start()

    def _write(self) -> None:
        while (entry := self._queue.get()) is not None:
            try:
                line = to_line(entry, self._redaction, with_sampling=self._settings.sampling)
                self._files.append(line)
            except Exception as error:  # noqa: BLE001 - the one capture point: the writer lives on
                self._failed(error)
            else:
                self._written()
        try:
            self._files.close()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._metrics.observe_recorded("failed", 1)
        if not self._failing:
            self._failing = True
            # Only the system's own text surely does not quote the record.
            reason = error.strerror if isinstance(error, OSError) else "it cannot be made a line"
            fields = {"error": type(error).__name__, "reason": reason}
            _log.error("records cannot be written; they are lost", extra={"fields": fields})

    def _written(self) -> None:
        self._metrics.observe_recorded("written", 1)
        if self._failing:
            self._failing = False
            _log.info("records are written again")


def build_recorder(settings: RecordingSettings, metrics: Metrics) -> Recorder:
    """The recorder for these settings. It touches no file before it is started."""
    if settings.folder is None:
        return Recorder()
    return FileRecorder(settings, LogFiles(settings), metrics)
