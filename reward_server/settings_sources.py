"""Where settings come from: a YAML file, then the environment, then flags; later ones win.

Every bad setting ends in one SettingsError that names its source and its key.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import SecretStr, ValidationError

from bon_common.settings.yaml import YamlError, read_yaml
from reward_server.settings import Settings

PREFIX = "REWARD_SERVER_"
KEYS_VARIABLE = f"{PREFIX}API_KEYS"
STRUCTURED = frozenset({"label_weights", "device_map", "models"})
"""Fields whose text form is YAML; all others are taken as they are written."""


class SettingsError(Exception):
    """A setting that cannot be used; prints as one line."""

    def __init__(self, source: str, key: str, reason: str) -> None:
        super().__init__(f"{source}: {key}: {' '.join(reason.split())}")


@dataclass(frozen=True)
class Invocation:
    """The command line, understood."""

    settings: Settings
    print_config: bool


def resolve(argv: Sequence[str], environ: Mapping[str, str]) -> Invocation:
    """Merge all sources into settings. Raises SettingsError; exits after `--help`."""
    arguments = _parser().parse_args(argv)
    layers: list[tuple[str, dict[str, Any]]] = []
    if arguments.config is not None:
        layers.append((arguments.config, _from_file(Path(arguments.config))))
    layers.append(("environment", _from_environment(environ)))
    layers.append(("flags", _from_flags(arguments)))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, layer in layers:
        values.update(layer)
        sources.update(dict.fromkeys(layer, source))
    return Invocation(_validated(values, sources), bool(arguments.print_config))


def describe(settings: Settings) -> str:
    """Return the settings as YAML, with the names of API keys but not the keys."""
    shown = settings.model_dump(mode="json", exclude={"api_keys"})
    shown["api_keys"] = sorted(settings.api_keys)
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)


def parse_api_keys(text: str) -> dict[str, SecretStr]:
    """Parse `name:key,name2:key2`. Raises SettingsError, which never repeats a key."""
    keys: dict[str, SecretStr] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, colon, key = (part.strip() for part in entry.partition(":"))
        if not (name and colon and key) or name in keys:
            raise SettingsError("environment", KEYS_VARIABLE, "expected unique name:key pairs")
        if not key.isprintable():
            # Nobody could send it: two lines, most likely, where a comma should be.
            reason = "a key holds a line break or a control character"
            raise SettingsError("environment", KEYS_VARIABLE, reason)
        keys[name] = SecretStr(key)
    if not keys:
        raise SettingsError("environment", KEYS_VARIABLE, "is set but holds no key")
    return keys


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        key, _, reason = message.removeprefix("argument ").partition(": ")
        raise SettingsError("flags", key, reason or "not understood")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="reward-server", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="YAML file with settings")
    parser.add_argument("--print-config", action="store_true", help="show the settings and exit")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, by its key"
    )
    for key in Settings.model_fields:
        if key != "api_keys":
            flag = f"--{key.replace('_', '-')}"
            parser.add_argument(flag, dest=f"field_{key}", metavar="VALUE")
    return parser


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("flags", "--config", str(error)) from error
    except YamlError as error:
        raise SettingsError(str(path), "file", f"not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(str(path), "file", "expected a mapping of settings")
    if "api_keys" in content:
        raise SettingsError(str(path), "api_keys", f"secrets come from {KEYS_VARIABLE} only")
    return content


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    layer: dict[str, Any] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        key = variable.removeprefix(PREFIX).lower()
        if text.startswith("tcp://"):
            raise SettingsError(
                "environment", variable, "written by a Kubernetes service; turn service links off"
            )
        if variable == KEYS_VARIABLE:
            layer[key] = parse_api_keys(text)
        elif key in Settings.model_fields:
            layer[key] = _value("environment", key, text)
        else:
            raise SettingsError("environment", variable, "no such setting")
    return layer


def _from_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    layer: dict[str, Any] = {}
    for entry in arguments.set:
        key, equals, text = entry.partition("=")
        if not equals:
            raise SettingsError("flags", "--set", f"expected KEY=VALUE, got {key!r}")
        if key == "api_keys":
            raise SettingsError("flags", key, f"secrets come from {KEYS_VARIABLE} only")
        layer[key] = _value("flags", key, text)
    for name, text in vars(arguments).items():
        if name.startswith("field_") and text is not None:
            key = name.removeprefix("field_")
            layer[key] = _value("flags", key, text)
    return layer


def _value(source: str, key: str, text: str) -> Any:
    if key not in STRUCTURED:
        return text
    try:
        return read_yaml(text)
    except YamlError as error:
        raise SettingsError(source, key, f"not YAML: {error}") from error


def _validated(values: dict[str, Any], sources: Mapping[str, str]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key, reason = ".".join(str(part) for part in first["loc"]), first["msg"]
        if not key:  # what keys must not be together, as `settings` words it
            key, _, reason = reason.removeprefix("Value error, ").partition(": ")
        source = sources.get(key.partition(".")[0], "settings")
        raise SettingsError(source, key, reason) from error
