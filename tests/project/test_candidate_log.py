"""What the gateway records, the trainers read: the two packages share no code, only the form."""

from __future__ import annotations

import json
from pathlib import Path

from bon_gateway.metrics import Metrics
from bon_gateway.recording.recorder import build_recorder
from bon_gateway.sections.recording import RecordingSettings
from tests.bon_gateway.recording.kit import entry, request, selection
from trainers.preferences.readers.candidate_log import CandidateLogReader
from trainers.preferences.readers.options import ReadOptions
from trainers.preferences.tally import Tally


def test_a_recorded_request_is_read_back(tmp_path: Path) -> None:
    recorder = build_recorder(RecordingSettings(folder=str(tmp_path)), Metrics())
    recorder.start()
    recorder.record(entry(request(), selection("Try kite.")))
    recorder.record(entry(request(), error="upstream_error"))
    recorder.close()
    (path,) = tmp_path.iterdir()
    answered, failed = (json.loads(line) for line in path.read_text().splitlines())
    reader, options = CandidateLogReader(), ReadOptions(keep_degraded=True)
    assert reader.matches(answered)
    (ranked,) = reader.read(answered, Tally(), options)
    assert ranked.prompt == [{"role": "user", "content": "name three toys"}]
    (candidate,) = ranked.candidates  # the other one failed
    assert candidate.answer == [{"role": "assistant", "content": "Try kite."}]
    assert candidate.score == 1.25
    assert list(reader.read(failed, Tally(), options)) == []
