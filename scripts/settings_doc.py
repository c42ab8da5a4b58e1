"""Write docs/settings.md from the settings' own docstrings: ``python scripts/settings_doc.py``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from bon_gateway.backends.policy.registry import KINDS as POLICIES
from bon_gateway.backends.reward.registry import KINDS as REWARDS
from bon_gateway.backends.settings import ThinkingSettings
from bon_gateway.sections.base import Component, Section, type_name
from bon_gateway.sections.recording import RecordingSettings
from bon_gateway.sections.server import AuthSettings, LimitsSettings, ServerSettings
from bon_gateway.settings.tree import ServedModelSettings
from bon_gateway.strategies.registry import KINDS as STRATEGIES

TARGET = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """\
# Settings

One YAML file (`bon-gateway serve --config FILE`), overridden by environment variables
(`BON_GATEWAY__SERVER__PORT=9000`: two underscores between the parts, the value read as YAML),
overridden by flags (`--set server.port=9000`, and `--host`, `--port`, `--workers`,
`--log-level`). An unknown key is an error that names it. `--print-config` shows the result.
`policies`, `rewards` and `models` are maps from a name of your choice.

`make docs` writes this page from the settings classes of `bon_gateway/`.
"""


def page() -> str:
    return HEAD + "".join(_section(title, section, words) for title, section, words in _sections())


def _sections() -> Iterator[tuple[str, type[Section], str]]:
    """Title, section, and what stands between them."""
    yield from _kinds("policies.<name>", POLICIES)
    yield "policies.<name>.thinking", ThinkingSettings, ""
    yield from _kinds("rewards.<name>", REWARDS)
    yield "models.<name>", ServedModelSettings, ""
    for title, kind, _ in _kinds("models.<name>.strategy", STRATEGIES):
        # A strategy's file says what it does, and when it helps and harms.
        yield title, kind, inspect.getdoc(sys.modules[kind.__module__]) or ""
    yield "server", ServerSettings, ""
    yield "auth", AuthSettings, ""
    yield "limits", LimitsSettings, ""
    yield "recording", RecordingSettings, ""


def _kinds(
    place: str, kinds: Sequence[type[Component]]
) -> Iterator[tuple[str, type[Component], str]]:
    for kind in kinds:
        yield f"{place}, type: {type_name(kind)}", kind, ""


def _section(title: str, section: type[Section], words: str) -> str:
    rows = [
        f"| `{name}` | {_kind(field.annotation)} | {_default(field)} | {_text(field)} |"
        for name, field in section.model_fields.items()
        if name != "type"
    ]
    said = [words.replace("``", "`"), ""] if words else []
    table = ["| key | value | default | |", "|---|---|---|---|", *rows, ""]
    return "\n".join(["", f"## {title}", "", *said, *table])


def _kind(annotation: Any) -> str:
    """An annotation in a reader's words."""
    origin = get_origin(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _kind(parts[0]) if len(parts) == 1 else "one of the types below"
    if origin is tuple:
        return "list of texts" if get_args(annotation)[0] is str else "list of addresses"
    if origin is not None:
        return _kind(get_args(annotation)[0])
    if issubclass(annotation, Section):
        return f"{{{', '.join(annotation.model_fields)}}}"
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    return words[annotation.__name__]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value == ():
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _text(field: FieldInfo) -> str:
    return " ".join((field.description or "").replace("``", "`").split())


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
