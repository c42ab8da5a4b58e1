"""``bon-gateway replay``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import SettingsTree, as_yaml, parse_pairs
from bon_gateway.report_flags import add_config, add_pools, add_print_config
from bon_gateway.sections.base import PATTERNS

if TYPE_CHECKING:
    from bon_gateway.replay.settings import ReplaySettings

INTERRUPTED = 130
FLAGS = (
    "n",
    "greedy",
    "model",
    "at_least",
    "permutations",
    "seed",
    "token_ms",
    "reward_ms",
    "output",
)
"""Settings with a flag of their own."""


class _InOrder(argparse.Action):
    """Keeps ``--strategy`` and ``--set`` in the order in which they were given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        namespace.given = [*namespace.given, (self.dest, values)]


def add_parser(commands: Any) -> None:
    """``commands`` are the subparsers of ``bon-gateway``."""
    parser = commands.add_parser(
        "replay",
        help="what any strategy would cost and answer, on recorded candidates",
        description="Run strategies, as they serve, on the candidate log instead of an engine, and"
        " report tokens, rounds, simulated latency, reward and gold beside plain best-of-N.",
    )
    add_config(parser)
    add_pools(parser)
    parser.add_argument(
        "--strategy", action=_InOrder, metavar="NAME", help="a strategy to replay; repeatable"
    )
    parser.add_argument(
        "--set",
        action=_InOrder,
        metavar="KEY=VALUE",
        help="after --strategy: a setting of it, such as n=16; before the first one: a setting of"
        " the replay by its dotted key, such as resamples=500",
    )
    parser.add_argument("--n", help="N of the best-of-N with which all are compared")
    parser.add_argument("--greedy", metavar="PATH", help="greedy answers to the same prompts")
    parser.add_argument("--model", help="read only requests for this served model")
    parser.add_argument("--at-least", help="leave out requests with fewer candidates")
    parser.add_argument("--permutations", help="how often each pool is shuffled (16)")
    parser.add_argument("--seed", help="of the orders and of strategies that draw (0)")
    parser.add_argument("--token-ms", help="milliseconds for a token (20)")
    parser.add_argument("--reward-ms", help="milliseconds for a call to the reward model (50)")
    parser.add_argument("--output", metavar="FOLDER", help="where everything goes (runs/replay)")
    add_print_config(parser)
    parser.set_defaults(given=[])


def replay(arguments: argparse.Namespace) -> int:
    """Raises SettingsError."""
    settings = _settings(arguments)
    if arguments.print_config:
        sys.stdout.write(as_yaml(settings))
        return 0
    from bon_gateway.compare.report.write import NO_PICTURES, can_draw
    from bon_gateway.replay.report.write import told, write_report
    from bon_gateway.replay.run import run

    try:
        results = run(settings, partial(print, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        return INTERRUPTED
    page = write_report(results, settings.output)
    print(told(results))
    if not can_draw():
        print(NO_PICTURES, file=sys.stderr)
    print(page)
    return 0


def _settings(arguments: argparse.Namespace) -> ReplaySettings:
    from bon_gateway.replay.settings import ReplaySettings
    from bon_gateway.settings.plugins import load_plugins

    tree = SettingsTree()
    if arguments.config is not None:
        tree.read(arguments.config)
    own, strategies = _given(arguments.given)
    tree.override(parse_pairs(own))
    if arguments.pools is not None:
        tree.add(("pools",), [str(path) for path in arguments.pools], "--pools")
    for name in FLAGS:
        value = getattr(arguments, name)
        if value is not None:
            tree.override([(f"--{name.replace('_', '-')}", name, value)])
    if strategies and not isinstance(tree.root.get("strategies"), dict):
        tree.add(("strategies",), {}, "--strategy")
    for kind, pairs in strategies:
        section = SettingsTree()
        section.add((), {"type": kind}, "--strategy")
        section.override(parse_pairs(pairs))
        name = " ".join([kind, *pairs])
        if name in tree.root["strategies"]:
            raise SettingsError("--strategy", name, "is given twice")
        tree.add(("strategies", name), section.root, "--strategy")
    load_plugins(tree, None if arguments.config is None else str(arguments.config))
    return tree.checked(ReplaySettings, PATTERNS)


def _given(given: Sequence[tuple[str, str]]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The pairs for the replay itself, and each strategy with its own."""
    own: list[str] = []
    strategies: list[tuple[str, list[str]]] = []
    for flag, value in given:
        if flag == "strategy":
            strategies.append((value, []))
        elif strategies:
            strategies[-1][1].append(value)
        else:
            own.append(value)
    return own, strategies
