"""An interruption neither cuts a log short nor leaves its writer locked."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import TrainerControl, TrainerState, TrainingArguments

from trainers.runtime.interrupts import held
from trainers.runtime.log import Reports, RunLog


class Interrupting(float):
    """A number during whose logging Ctrl-C is pressed."""

    def __float__(self) -> float:
        signal.raise_signal(signal.SIGINT)
        return 1.0


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """As `bon-train` has them."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGTERM, before) is signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_raised_at_the_end_of_the_block(number: signal.Signals) -> None:
    done = []

    def work() -> None:
        with held():
            signal.raise_signal(number)
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the rest"]


def test_a_block_that_fails_loses_no_signal() -> None:
    def work() -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            raise OSError("full")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert isinstance(caught.value.__context__, OSError)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held():
        signal.raise_signal(signal.SIGINT)
    assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


def test_another_thread_leaves_the_handlers_alone() -> None:
    seen = []

    def look() -> None:
        with held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def logged(folder: Path) -> set[str]:
    events = EventAccumulator(str(folder))
    events.Reload()
    tags: list[str] = events.Tags()["scalars"]
    return set(tags)


def test_a_step_is_logged_whole(tmp_path: Path) -> None:
    reports = Reports(RunLog(tmp_path, "step", 0))
    args, state, control = TrainingArguments(str(tmp_path)), TrainerState(), TrainerControl()
    with pytest.raises(KeyboardInterrupt):
        reports.on_log(args, state, control, {"loss": Interrupting(1.0), "grad_norm": 2.0})
    reports.close()
    assert logged(tmp_path / "tensorboard") == {"loss", "grad_norm"}


def test_an_iteration_is_logged_whole(tmp_path: Path) -> None:
    log = RunLog(tmp_path, "iteration", 0)
    with pytest.raises(KeyboardInterrupt):
        log.write(1, {"reward": Interrupting(1.0), "kl": 2.0, "alarms": ["kl"]})
    log.close()
    assert logged(tmp_path / "tensorboard") == {"reward", "kl", "alarms"}
