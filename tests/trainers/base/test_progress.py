from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

from transformers import TrainerState

from trainers.base.progress import progress
from trainers.runtime.log import Reports, RunLog

NOTHING: Any = None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def play(folder: Path, stream: io.StringIO, pause_s: float = 30.0) -> str:
    """Updates 3 and 4 of 4, as the trainer reports them."""
    bar = Reports(RunLog(folder, "step", 0), stream, pause_s=pause_s)
    state = TrainerState(max_steps=4, global_step=2)
    bar.on_train_begin(NOTHING, state, NOTHING)
    for step in (3, 4):
        time.sleep(0.02)
        state.global_step = step
        bar.on_step_end(NOTHING, state, NOTHING)
        bar.on_log(NOTHING, state, NOTHING, {"loss": 0.123456})
    bar.close()
    return stream.getvalue()


def test_a_terminal_sees_updates_rate_time_and_loss(tmp_path: Path) -> None:
    shown = play(tmp_path, Terminal())
    assert "4/4" in shown
    assert "updates/s" in shown
    assert "loss 0.1235" in shown
    assert "0:00:00" in shown


def test_a_file_is_spared_the_bar(tmp_path: Path) -> None:
    assert play(tmp_path, io.StringIO()) == ""


def test_a_log_gets_a_line_now_and_then(tmp_path: Path) -> None:
    lines = play(tmp_path, io.StringIO(), pause_s=0).splitlines()
    assert "training: 3 of 4 updates, about 0:00:00 to go" in lines
    assert lines[-1] == "loss 0.1235: 4 of 4 updates, about 0:00:00 to go"
    stream = io.StringIO()
    with progress("prompts", 10, 6, stream, pause_s=0.05) as advance:
        advance()
        time.sleep(0.1)
        advance(2)
        advance()
    assert stream.getvalue() == "9 of 10 prompts, about 0:00:00 to go\n"


def test_records_are_counted_with_their_rate_from_where_a_run_went_on() -> None:
    stream = Terminal()
    with progress("prompts", 10, 6, stream) as advance:
        for _ in range(4):
            time.sleep(0.02)
            advance()
    shown = stream.getvalue()
    assert "prompts" in shown
    assert "10/10" in shown
    assert "prompts/s" in shown
