"""Where settings come from: a YAML file, then the environment, then flags; later ones win."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import SettingsTree, parse_pairs, parse_value
from reward_server.settings import Settings

PREFIX = "REWARD_SERVER_"
KEYS_VARIABLE = f"{PREFIX}API_KEYS"
STRUCTURED = frozenset({"label_weights", "device_map", "models", "steps"})
"""Fields whose text form is YAML; the text of all others is the value."""


@dataclass(frozen=True)
class Invocation:
    """The command line, understood."""

    settings: Settings
    print_config: bool


def resolve(argv: Sequence[str], environ: Mapping[str, str]) -> Invocation:
    """Merge all sources into settings. Raises SettingsError; exits after `--help`."""
    arguments = _parser().parse_args(argv)
    tree = SettingsTree()
    if arguments.config is not None:
        tree.read(arguments.config)
    named = {name: text for name, text in environ.items() if name != KEYS_VARIABLE}
    tree.environment(named, PREFIX, _value)
    tree.override(parse_pairs(arguments.set, _value))
    for key in Settings.model_fields:
        text, flag = getattr(arguments, f"field_{key}"), f"--{key.replace('_', '-')}"
        if text is not None:
            tree.override([(flag, key, _value(flag, key, text))])
    if "api_keys" in tree.root:
        source = tree.source_of(("api_keys",))
        raise SettingsError(source, "api_keys", f"secrets come from {KEYS_VARIABLE} only")
    return Invocation(tree.checked(Settings), bool(arguments.print_config))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        key, _, reason = message.removeprefix("argument ").partition(": ")
        raise SettingsError("flags", key, reason or "not understood")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="reward-server", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file with settings")
    parser.add_argument("--print-config", action="store_true", help="show the settings and exit")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, by its key"
    )
    for key in Settings.model_fields:
        flag = f"--{key.replace('_', '-')}"
        parser.add_argument(flag, dest=f"field_{key}", metavar="VALUE")
    return parser


def _value(source: str, key: str, text: str) -> object:
    if text.startswith("tcp://"):
        # Kubernetes names the variables of a service after it.
        reason = "written by a Kubernetes service; turn service links off"
        raise SettingsError(source, key, reason)
    # A dotted key is part of a structured setting, whose text form is YAML.
    return parse_value(source, key, text) if key in STRUCTURED or "." in key else text
