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


def play(folder: Path, stream: io.StringIO) -> str:
    """Updates 3 and 4 of 4, as the trainer reports them."""
    bar = Reports(RunLog(folder, "step", 0), stream)
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
