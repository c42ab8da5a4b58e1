"""`bon-train`: the command line of the trainers. Bad settings or data end it with exit code 2.

Ctrl-C and SIGTERM end it with 130; what a run has written so far is whole.
"""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bon_common.settings.sources import as_yaml
from trainers.base.context import INTERRUPTED, RunContext
from trainers.base.errors import TrainersError
from trainers.base.settings import load_settings
from trainers.commands import COMMANDS
from trainers.runtime.arguments import is_main_process


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0, 2 for an error that the user can mend, 130 if it was interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    # TRL reports its use over the network unless told not to; nothing here needs the network.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    command = shlex.join(["bon-train", *arguments])
    try:
        with _terminated_as_interrupted():
            figures = _run(options, command)
        if is_main_process():
            _print_figures(figures)
    except KeyboardInterrupt:
        print("bon-train: interrupted", file=sys.stderr)
        return INTERRUPTED
    except TrainersError as error:
        print(f"bon-train: {error}", file=sys.stderr)
        return 2
    return 0


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM acts as Ctrl-C does. A container's first process would not even notice it."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A background job may have been started with SIGINT ignored.
    handler = signal.getsignal(signal.SIGINT)
    (handler if callable(handler) else signal.default_int_handler)(number, frame)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bon-train", description="Train and measure models.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, known in COMMANDS.items():
        command = commands.add_parser(name, help=known.summary, description=known.summary)
        command.add_argument("--config", type=Path, required=True, help="YAML settings file")
        _add_set(command, "key=value")
        command.add_argument(
            "--print-config", action="store_true", help="show the resulting settings and exit"
        )
        if known.dry_run:
            command.add_argument(
                "--dry-run", action="store_true", help="show one prepared example and stop"
            )
        if known.resume:
            command.add_argument(
                "--resume", action="store_true", help="go on from the newest checkpoint"
            )
    summary = "make the demo world: data, tokenizer, both models, figures"
    demo = commands.add_parser("demo", help=summary, description=summary)
    demo.add_argument("--output", type=Path, default=Path("runs/demo"), help="folder to write")
    _add_set(demo, "step.key=value")
    return parser


def _add_set(command: argparse.ArgumentParser, form: str) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar=form.upper(),
        help="override one setting; may be repeated",
    )


def _run(options: argparse.Namespace, command: str) -> Mapping[str, float]:
    if options.command == "demo":
        from trainers.demo.build import build_demo

        return build_demo(options.output, options.set, command).table()
    known = COMMANDS[options.command]
    settings = load_settings(known.settings, options.config, options.set, environ=os.environ)
    if options.print_config:
        print(as_yaml(settings), end="")
        return {}
    context = RunContext(
        command,
        dry_run=getattr(options, "dry_run", False),
        resume=getattr(options, "resume", False),
        show=print if is_main_process() else _ignore,
    )
    return known.load()(settings, context)


def _ignore(text: str) -> None:
    """What the main process shows need not be shown by each."""


def _print_figures(figures: Mapping[str, float]) -> None:
    for name, value in figures.items():
        print(f"{name}: {value if isinstance(value, int) else format(value, '.4g')}")
