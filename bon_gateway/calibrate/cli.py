"""``bon-gateway calibrate``."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import SettingsTree, as_yaml, parse_pairs
from bon_gateway.report_flags import add_config, add_pools, add_print_config, add_set
from bon_gateway.sections.base import PATTERNS

if TYPE_CHECKING:
    from bon_gateway.calibrate.settings import CalibrateSettings

INTERRUPTED = 130
FLAGS = ("reward", "gold", "at_least", "good", "risk", "tolerance", "seed", "output")
"""Settings with a flag of their own."""
ASK_FLAGS = ("url", "prompts", "limit", "api_key_env")
"""Settings of ``ask`` with a flag of their own; ``model`` and ``n`` belong to both."""


def add_parser(commands: Any) -> None:
    """``commands`` are the subparsers of ``bon-gateway``."""
    parser = commands.add_parser(
        "calibrate",
        help="which strategy to serve, from recorded candidates or a running gateway",
        description="Measure a policy and a reward model on recorded candidates, or on those of a"
        " running gateway: spread, length, best-of-n, over-optimisation, hedges and thresholds."
        " Writes the strategy to serve as settings, and why.",
    )
    add_config(parser)
    add_pools(parser)
    parser.add_argument("--url", help="a running gateway to ask instead")
    parser.add_argument("--model", help="the served model")
    parser.add_argument("--prompts", metavar="FILE", help="--url: the prompts (JSON lines)")
    parser.add_argument("--limit", help="--url: ask only so many of the prompts")
    parser.add_argument(
        "--api-key-env", metavar="NAME", help="--url: environment variable with the key to send"
    )
    parser.add_argument("--n", help="most candidates of a request; with --url those asked for (16)")
    parser.add_argument("--reward", help="choose by this entry of the candidates' rewards")
    parser.add_argument("--gold", help="auto, labelled or ignored (auto)")
    parser.add_argument(
        "--gold-by", metavar="MODULE:FUNCTION", help="a function of messages and answer: its gold"
    )
    parser.add_argument("--at-least", help="leave out requests with fewer candidates")
    parser.add_argument("--good", help="gold from which an answer is good")
    parser.add_argument("--risk", help="share of accepted answers that may be bad (0.1)")
    parser.add_argument("--tolerance", help="share of the gain that may be lost (0.02)")
    parser.add_argument("--extract", metavar="TYPE", help="where final answers stand, to vote")
    parser.add_argument("--seed", help="of the folds and the intervals (0)")
    parser.add_argument("--output", metavar="FOLDER", help="where everything goes (runs/calibrate)")
    add_set(parser, "ask.sampling.temperature=1")
    add_print_config(parser)


def calibrate(arguments: argparse.Namespace) -> int:
    """Raises SettingsError."""
    settings = _settings(arguments)
    if arguments.print_config:
        sys.stdout.write(as_yaml(settings))
        return 0
    from bon_gateway.calibrate.ask import record_pools
    from bon_gateway.calibrate.report.write import FRAGMENT, told, write_report
    from bon_gateway.calibrate.run import run
    from bon_gateway.compare.ask.progress import Progress
    from bon_gateway.compare.report.write import NO_PICTURES, can_draw

    try:
        pools = settings.pools
        if settings.ask is not None:
            progress = Progress(sys.stderr)
            pools = (
                record_pools(settings.ask, settings.seed, settings.output, os.environ, progress),
            )
        results = run(settings, pools, partial(print, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        return INTERRUPTED
    page = write_report(results, settings.output)
    print(told(results))
    print((settings.output / FRAGMENT).read_text(encoding="utf-8"))
    if not can_draw():
        print(NO_PICTURES, file=sys.stderr)
    print(page)
    return 0


def _settings(arguments: argparse.Namespace) -> CalibrateSettings:
    from bon_gateway.calibrate.settings import CalibrateSettings
    from bon_gateway.settings.plugins import load_plugins

    tree = SettingsTree()
    if arguments.config is not None:
        tree.read(arguments.config)
    tree.override(parse_pairs(arguments.settings))
    if arguments.pools is not None:
        tree.add(("pools",), [str(path) for path in arguments.pools], "--pools")
    asking = arguments.url is not None or isinstance(tree.root.get("ask"), dict)
    for name in ASK_FLAGS:
        if getattr(arguments, name) is not None and not asking:
            raise SettingsError(f"--{name.replace('_', '-')}", "", "goes with --url")
    for flag, key in _keys(asking=asking).items():
        value = getattr(arguments, flag)
        if value is not None:
            tree.override([(f"--{flag.replace('_', '-')}", key, value)])
    if arguments.gold_by is not None:
        tree.override([("--gold-by", "gold_by.function", arguments.gold_by)])
    if arguments.extract is not None:
        tree.add(("extract",), {"type": arguments.extract}, "--extract")
    load_plugins(tree, None if arguments.config is None else str(arguments.config))
    return tree.checked(CalibrateSettings, PATTERNS)


def _keys(*, asking: bool) -> dict[str, str]:
    """The dotted key of each flag."""
    keys = {name: name for name in FLAGS}
    if not asking:
        return {**keys, "model": "model", "n": "n"}
    return {**keys, **{name: f"ask.{name}" for name in (*ASK_FLAGS, "model", "n")}}
