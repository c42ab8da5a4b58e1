"""Run a trainer from start or checkpoint to end, reporting as it goes."""

import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput

from trainers.base.context import RunContext
from trainers.base.data import data_hash
from trainers.base.errors import RunError
from trainers.base.outputs import claim_folder, require_place
from trainers.base.settings import TrainSettings
from trainers.runtime.arguments import CHECKPOINTS, is_main_process, processes
from trainers.runtime.checkpoints import Checkpoints, stopped
from trainers.runtime.interrupts import held
from trainers.runtime.log import Reports, RunLog
from trainers.runtime.memory import memory_line
from trainers.runtime.stopping import StepStopAskedError, StopWhenAsked, StopWithinStep
from trainers.runtime.trainer import RunTrainer
from trainers.runtime.warming import WarmUpNote


def claim(settings: TrainSettings, context: RunContext) -> None:
    """Make way for a run, before anything is read; RunError if an earlier one is in the way."""
    if is_main_process() and not context.dry_run:
        require_place(settings.output)
        newest = Checkpoints(settings.output / CHECKPOINTS, settings.keep_checkpoints).newest()
        claim_folder(settings.output, context, inputs=[settings.model], newest=newest)


def run_trainer(trainer: RunTrainer, settings: TrainSettings, context: RunContext) -> TrainOutput:
    """Train to the end; the loss returned is the mean over all updates, resumed ones included.

    A SIGINT or SIGTERM ends the run after the update that it is in, with a checkpoint; where it
    takes long, in its middle, with the state before it. With `context.resume`, goes on from the
    newest checkpoint in `settings.output`, or begins at the start if there is none. Raises RunError
    for a loss or gradient that is not finite, a full disk, and checkpoints that are in the way;
    SettingsError for settings that do not fit the checkpoint.
    """
    if trainer.args.world_size != processes():
        raise RunError(
            f"{processes()} processes were started, but {trainer.args.world_size} train together"
        )
    checkpoints = Checkpoints(settings.output / CHECKPOINTS, settings.keep_checkpoints)
    trainer.checkpoints = checkpoints
    trainer.run_settings = resumable(settings)
    main = trainer.is_world_process_zero()
    # The main process clears up before any other looks.
    with trainer.accelerator.main_process_first():
        start = checkpoints.start(resume=context.resume, settings=trainer.run_settings)
    done = 0 if start is None else checkpoints.steps()[-1]
    if main and context.resume:
        context.show(f"no checkpoint in {checkpoints.folder}" if start is None else f"from {start}")
    if main:
        context.show(memory_line(settings))
    trainer.remove_callback(PrinterCallback)
    with ExitStack() as closing:
        # The first to enter is the last to leave: the signal takes effect when all is closed.
        signals = closing.enter_context(held(second_at_once=True))
        stop = StopWhenAsked(trainer, signals)
        trainer.add_callback(stop)
        if main:
            reports = Reports(RunLog(settings.output, "step", done))
            trainer.add_callback(reports)
            trainer.add_callback(WarmUpNote(context.show))
            closing.callback(reports.close)
        result = _finished(trainer, start) or _trained(trainer, start, signals)
        if stop.stopped and not signals:
            # Another process was told. This one must not write its model as one that is trained.
            signal.raise_signal(signal.SIGTERM)
        if main and signals:
            context.show(stopped(checkpoints.newest()))
    loss = mean_loss(trainer.state.log_history, done, result)
    return TrainOutput(result.global_step, loss, result.metrics)


def _trained(trainer: RunTrainer, start: Path | None, signals: Sequence[int]) -> TrainOutput:
    begin = None if start is None else str(start)
    if not trainer.stops_within_a_step or trainer.args.world_size > 1:
        return trainer.train(resume_from_checkpoint=begin)
    within = StopWithinStep(trainer, signals)
    trainer.add_callback(within)
    try:
        return trainer.train(resume_from_checkpoint=begin)
    except StepStopAskedError:
        within.save()
        return TrainOutput(trainer.state.global_step, 0.0, {})


def _finished(trainer: RunTrainer, start: Path | None) -> TrainOutput | None:
    """The result of a run whose last checkpoint is its end, its weights loaded; else None.

    The trainer itself would do one update more.
    """
    if start is None:
        return None
    state = TrainerState.load_from_json(str(start / TRAINER_STATE_NAME))
    if state.global_step < state.max_steps:
        return None
    trainer.load_checkpoint(start)
    trainer.state = state
    return TrainOutput(state.global_step, 0.0, {})


def resumable(settings: TrainSettings) -> dict[str, Any]:
    """What decides the course of a run, as JSON: settings, data, number of processes."""
    return {**settings.deciding(), "data": data_hash(settings.train), "processes": processes()}


def mean_loss(history: list[dict[str, float]], done: int, result: TrainOutput) -> float:
    """The mean training loss over all updates: this process's, and `done` ones before it.

    The earlier ones are known by the logs, each the mean since the log before.
    """
    updates = result.global_step - done
    total, last = result.training_loss * updates, 0
    for entry in history:
        step = int(entry["step"])
        if "loss" in entry and step <= done:
            total += entry["loss"] * (step - last)
            last = step
    return total / max(updates + last, 1)
