"""`bon-train`: the command line of the trainers. Bad settings or data end it with exit code 2.

Ctrl-C ends it with 130, SIGTERM with 143. A trainer first ends the update that it is in and writes
a checkpoint; a second signal ends it at once. What a run has written so far is whole.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from bon_common.settings.sources import as_yaml
from trainers.base.context import INTERRUPTED, TERMINATED, RunContext
from trainers.base.errors import TrainersError
from trainers.base.settings import load_settings, require_files
from trainers.base.sole_writer import sole_writer
from trainers.commands import COMMANDS, OUTPUT
from trainers.ending import ending
from trainers.recipes import listing, write_recipe
from trainers.runtime.arguments import is_main_process


@dataclass(frozen=True)
class Outcome:
    """What a command prints at its end."""

    figures: Mapping[str, float] = field(default_factory=dict)
    ending: Sequence[str] = ()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0, 1 if nothing was written, 2 for an error that the user can mend, 130 after Ctrl-C, 143 after
    SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    # TRL reports its use over the network unless told not to; nothing here needs the network.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    command = shlex.join(["bon-train", *arguments])
    try:
        with _terminated_as_interrupted() as terminated:
            outcome = _run(options, command)
        if is_main_process():
            _print_figures(outcome.figures)
            print("".join(f"{line}\n" for line in outcome.ending), end="")
    except KeyboardInterrupt:
        print(f"bon-train: {'terminated' if terminated else 'interrupted'}", file=sys.stderr)
        return TERMINATED if terminated else INTERRUPTED
    except TrainersError as error:
        print(f"bon-train: {error}", file=sys.stderr)
        return error.exit_code
    return 0


@contextmanager
def _terminated_as_interrupted() -> Iterator[list[int]]:
    """SIGTERM acts as Ctrl-C does; yields a list that it is noted in. A container's first process
    would not even notice it."""
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        # A background job may have been started with SIGINT ignored.
        handler = signal.getsignal(signal.SIGINT)
        (handler if callable(handler) else signal.default_int_handler)(number, frame)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bon-train", description="Train and measure models.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, known in COMMANDS.items():
        command = commands.add_parser(name, help=known.summary, description=known.summary)
        command.add_argument("--config", type=Path, help="YAML settings file")
        _add_set(command, "key=value")
        again = command.add_mutually_exclusive_group()
        _add_overwrite(again)
        _add_print_config(command)
        if known.dry_run:
            command.add_argument(
                "--dry-run", action="store_true", help="show one prepared example and stop"
            )
        if known.resume:
            again.add_argument(
                "--resume", action="store_true", help="go on from the newest checkpoint"
            )
    _add_init(commands)
    summary = "make the demo world: data, tokenizer, both models, figures"
    demo = commands.add_parser("demo", help=summary, description=summary)
    demo.add_argument("--output", type=Path, default=Path("runs/demo"), help="folder to write")
    _add_set(demo, "step.key=value")
    _add_print_config(demo)
    _add_overwrite(demo)
    return parser


def _add_init(commands: Any) -> None:
    summary = "write a settings file in which everything is explained; alone, list the recipes"
    init = commands.add_parser("init", help=summary, description=summary)
    init.add_argument("recipe", nargs="?", help="one of those that `bon-train init` lists")
    init.add_argument("--output", type=Path, help="file to write (default: RECIPE.yaml)")
    init.add_argument("--model", help="policy to write in place of the recipes' Qwen2.5-0.5B")
    init.add_argument("--runs", help="folder of data and results to write in place of runs/qwen")
    _add_overwrite(init)


def _add_print_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--print-config", action="store_true", help="show the resulting settings and exit"
    )


def _add_overwrite(command: Any) -> None:
    command.add_argument("--overwrite", action="store_true", help="replace an output that exists")


def _add_set(command: argparse.ArgumentParser, form: str) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar=form.upper(),
        help="override one setting; may be repeated",
    )


def _init(options: argparse.Namespace) -> Outcome:
    if options.recipe is None:
        return Outcome(ending=[listing()])
    command, path = write_recipe(
        options.recipe,
        options.output,
        model=options.model,
        runs=options.runs,
        overwrite=options.overwrite,
    )
    dry = ["--dry-run"] if COMMANDS[command].dry_run else []
    then = shlex.join(["bon-train", command, "--config", str(path), *dry])
    return Outcome(ending=[f"wrote: {path}", f"next:  {then}"])


def _run(options: argparse.Namespace, command: str) -> Outcome:
    if options.command == "init":
        return _init(options)
    context = RunContext(
        command,
        dry_run=getattr(options, "dry_run", False),
        resume=getattr(options, "resume", False),
        overwrite=options.overwrite,
        show=print if is_main_process() else _ignore,
    )
    if options.command == "demo":
        from trainers.demo.build import build_demo, plan_demo

        if options.print_config:
            print(plan_demo(options.output, options.set).as_yaml(), end="")
            return Outcome()
        return Outcome(build_demo(options.output, options.set, context).table())
    known = COMMANDS[options.command]
    settings = load_settings(known.settings, options.config, options.set, environ=os.environ)
    if options.print_config:
        print(as_yaml(settings), end="")
        return Outcome()
    require_files(settings)
    trains = known.resume and not context.dry_run and is_main_process()
    folder = Path(OUTPUT.format(settings))
    with sole_writer(folder) if trains else nullcontext():
        figures = known.load()(settings, context)
    return Outcome(figures, () if context.dry_run else ending(known, settings))


def _ignore(text: str) -> None:
    """What the main process shows need not be shown by each."""


def _print_figures(figures: Mapping[str, float]) -> None:
    for name, value in figures.items():
        print(f"{name}: {value if isinstance(value, int) else format(value, '.4g')}")
