"""``bon-gateway compare`` and ``bon-gateway compare diff``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import SettingsTree, as_yaml, parse_pairs
from bon_gateway.compare.greedy import with_greedy
from bon_gateway.compare.settings import CompareSettings
from bon_gateway.report_flags import add_config, add_print_config, add_set
from bon_gateway.sections.base import PATTERNS

if TYPE_CHECKING:
    from bon_gateway.compare.ask.demo import Models

REGRESSION = 1
NO_ANSWER = 1
"""Every request failed."""
INTERRUPTED = 130


def add_parser(commands: Any) -> None:
    """``commands`` are the subparsers of ``bon-gateway``."""
    parser = commands.add_parser(
        "compare",
        help="what N costs, and when a tuned policy pays",
        description="Ask several served models or N values the same prompts; report quality,"
        " latency, cost and when a tuned policy pays back. `compare diff OLD NEW` compares two"
        " runs and exits with 1 if something became worse.",
    )
    parser.add_argument(
        "action", nargs="?", choices=["run", "diff"], default="run", help="run is the default"
    )
    parser.add_argument("runs", nargs="*", type=Path, help="diff: folders or results.json files")
    add_config(parser)
    parser.add_argument(
        "--embedded", action="store_true", help="start the gateway on the demo models and ask it"
    )
    parser.add_argument(
        "--tuned",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="--embedded: also serve this tuned policy, as served model NAME",
    )
    parser.add_argument(
        "--trained",
        type=Path,
        metavar="FOLDER",
        help="--embedded: the models of this run of bon-train demo-train, by its gold reward",
    )
    parser.add_argument("--url", help="the gateway to ask, without a settings file")
    parser.add_argument("--model", help="--url: the served model")
    parser.add_argument("--n", default="1,2,4,8", help="--url: the N values (1,2,4,8)")
    parser.add_argument("--prompts", metavar="FILE", help="--url: the prompts (JSON lines)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where everything goes")
    add_set(parser, "load.concurrency=8")
    add_print_config(parser)
    parser.add_argument("--restart", action="store_true", help="remove earlier records first")
    parser.add_argument(
        "--tolerance", type=float, default=0.05, help="diff: share that may be lost (0.05)"
    )


def compare(arguments: argparse.Namespace) -> int:
    """Raises SettingsError."""
    if arguments.action == "diff":
        return _diff(arguments)
    if arguments.runs:
        raise SettingsError("compare", str(arguments.runs[0]), "only diff takes folders")
    for flag in ("tuned", "trained"):
        if getattr(arguments, flag) and not arguments.embedded:
            raise SettingsError(f"--{flag}", "", "goes with --embedded")
    try:
        return _run(arguments)
    except KeyboardInterrupt:  # before the first request, or the second interrupt
        return INTERRUPTED


def _run(arguments: argparse.Namespace) -> int:
    from bon_gateway.compare.ask import demo
    from bon_gateway.compare.ask.records import claim, plan_of
    from bon_gateway.compare.prompts import read_prompts

    settings = _settings(arguments)
    if arguments.print_config:
        sys.stdout.write(as_yaml(settings))
        return 0
    prompts = read_prompts(settings.prompts, settings.seed)
    claim(settings.output, plan_of(settings, prompts), restart=arguments.restart)
    with ExitStack() as closing:
        url = None
        if arguments.embedded:
            print("starting the gateway on the demo models", file=sys.stderr)
            url = closing.enter_context(demo.running(_models(arguments)))
        return asyncio.run(_measure_and_report(settings, prompts, url))


def _settings(arguments: argparse.Namespace) -> CompareSettings:
    from bon_gateway.compare.ask import demo

    tree = SettingsTree()
    if arguments.config is not None:
        tree.read(arguments.config)
    elif arguments.embedded:
        tree.add((), demo.compare_tree(_models(arguments)), "--embedded")
    elif arguments.url is not None:
        tree.add((), _of_endpoint(arguments), "--url")
    else:
        raise SettingsError("compare", "--config", "is required without --embedded and --url")
    tree.override(parse_pairs(arguments.settings))
    if arguments.output is not None:
        tree.override([("--output", "output", str(arguments.output))])
    return with_greedy(tree.checked(CompareSettings, PATTERNS))


def _models(arguments: argparse.Namespace) -> Models:
    from bon_gateway.compare.ask.demo import of_run, parse_tuned, shipped

    tuned = parse_tuned(arguments.tuned)
    return shipped(tuned) if arguments.trained is None else of_run(arguments.trained, tuned)


def _of_endpoint(arguments: argparse.Namespace) -> dict[str, Any]:
    """One served model at several N. Raises SettingsError."""
    for flag in ("model", "prompts"):
        if getattr(arguments, flag) is None:
            raise SettingsError("--url", f"--{flag}", "is required with --url")
    sizes = arguments.n.split(",")
    if not all(size.strip().isdecimal() for size in sizes):
        raise SettingsError("--n", "", f"should be numbers such as 1,2,4, not {arguments.n!r}")
    arm = {"url": arguments.url, "model": arguments.model}
    return {
        "arms": {f"n-{int(size)}": {**arm, "bon": {"n": int(size)}} for size in sizes},
        "prompts": {"file": arguments.prompts},
    }


async def _measure_and_report(
    settings: CompareSettings, prompts: list[Any], url: str | None
) -> int:
    from bon_gateway.compare.ask.progress import Progress
    from bon_gateway.compare.ask.run import Run
    from bon_gateway.compare.figures.analysis import analyse
    from bon_gateway.compare.report.quality_tables import overview
    from bon_gateway.compare.report.table import as_text
    from bon_gateway.compare.report.write import NO_PICTURES, can_draw, write_report

    stop = asyncio.Event()
    interrupted = asyncio.Event()

    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def interrupt() -> None:
        interrupted.set()
        stop.set()
        for number in signals:  # the next one ends the process at once
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, interrupt)
    if settings.load.stop_after_s is not None:
        loop.call_later(settings.load.stop_after_s, stop.set)
    progress = Progress(sys.stderr)
    measured = await Run(settings, prompts, stop, embedded_url=url, progress=progress).measure()
    progress.end()
    results = analyse(settings, measured, len(prompts))
    page = write_report(results, settings.output)
    print(as_text(overview(results)))
    for sentence in (*results.warnings, "", *results.verdict):
        print(sentence)
    if not can_draw():
        print(NO_PICTURES, file=sys.stderr)
    print(f"\n{page}")
    if interrupted.is_set():
        return INTERRUPTED
    if not any(arm.answered for arm in results.arms):
        last = measured.records[-1].error
        print(f"every request failed, the last with: {last}", file=sys.stderr)
        return NO_ANSWER
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from bon_gateway.compare.figures.diff import changes, read_results
    from bon_gateway.compare.report.table import Table, as_text

    if len(arguments.runs) != 2:
        raise SettingsError("compare diff", "", "expected OLD and NEW")
    old, new = (read_results(path) for path in arguments.runs)
    found = changes(old, new, arguments.tolerance)
    rows = [(c.arm, c.what, c.old, c.new, "WORSE" if c.worse else "") for c in found]
    print(as_text(Table("", "", ("arm", "figure", "old", "new", ""), tuple(rows))))
    worse = sum(change.worse for change in found)
    print(f"\n{worse} of {len(found)} figures became worse" if worse else "\nnothing became worse")
    return REGRESSION if worse else 0
