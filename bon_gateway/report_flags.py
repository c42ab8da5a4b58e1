"""Common flags of the commands that write a report: ``compare``, ``replay``, ``calibrate``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (YAML)")


def add_pools(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pools",
        nargs="+",
        action="extend",
        type=Path,
        metavar="PATH",
        help="files or folders of the candidate log",
    )


def add_set(parser: argparse.ArgumentParser, example: str) -> None:
    """``--set``, whose pairs become ``settings``."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help=f"any setting by its dotted key, such as {example}",
    )


def add_print_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--print-config", action="store_true", help="show the resulting settings as YAML and exit"
    )
