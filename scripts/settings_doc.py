"""Write the tables of settings from the docstrings: ``python scripts/settings_doc.py``.

docs/settings.md is the gateway's; docs/reward-server.md has a place for its own.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bon_gateway.backends.policy.registry import KINDS as POLICIES
from bon_gateway.backends.reward.registry import KINDS as REWARDS
from bon_gateway.sections.base import Component, Section, type_name
from bon_gateway.sections.recording import RecordingSettings
from bon_gateway.sections.server import AuthSettings, LimitsSettings, ServerSettings
from bon_gateway.settings.tree import ServedModelSettings
from bon_gateway.strategies.registry import KINDS as STRATEGIES
from bon_gateway.thinking import ThinkingSettings
from reward_server.model_settings import EnsembleSettings
from reward_server.settings import Settings as RewardServerSettings

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- settings: written by `make docs` -->\n", "<!-- end of settings -->\n"
HEAD = """\
# Settings

One YAML file (`bon-gateway serve --config FILE`), overridden by environment variables
(`BON_GATEWAY__SERVER__PORT=9000`: two underscores between the parts, the value read as YAML),
overridden by flags (`--set server.port=9000`, and `--host`, `--port`, `--workers`,
`--log-level`). An unknown key is an error that names it. `--print-config` shows the result.
`policies`, `rewards` and `models` are maps from a name of your choice.

`make docs` writes this page from the settings classes of `bon_gateway/`.
"""


def pages() -> dict[Path, str]:
    """What each page should hold."""
    gateway, reward_server = DOCS / "settings.md", DOCS / "reward-server.md"
    sections = [_section(f"## {title}", section, words) for title, section, words in _sections()]
    models = _section("### models.<name>, type: ensemble", EnsembleSettings, "")
    table = _table(RewardServerSettings, "model", "models") + models
    return {
        gateway: HEAD + "".join(sections),
        reward_server: _placed(reward_server.read_text(encoding="utf-8"), table),
    }


def _placed(page: str, table: str) -> str:
    """The page with the table between its marks. Raises ValueError if it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("docs/reward-server.md has no place for the table of settings")
    return before + begin + table + end + after


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


def _section(title: str, section: type[BaseModel], words: str) -> str:
    said = [words.replace("``", "`"), ""] if words else []
    return "\n".join(["", title, "", *said, _table(section)])


def _table(section: type[BaseModel], *first: str) -> str:
    """A row for each field; those named in ``first`` come before the others."""
    fields = {name: section.model_fields[name] for name in first} | section.model_fields
    rows = [
        f"| `{name}` | {_kind(field.annotation)} | {_default(field)} | {_text(field)} |"
        for name, field in fields.items()
        if name != "type"
    ]
    return "\n".join(["| key | value | default | |", "|---|---|---|---|", *rows, ""])


def _kind(annotation: Any) -> str:
    """An annotation in a reader's words."""
    origin = get_origin(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        if len(parts) == 1:
            return _kind(parts[0])
        sections = any(isinstance(part, type) and issubclass(part, BaseModel) for part in parts)
        return "one of the types below" if sections else " or ".join(map(_kind, parts))
    if origin in (dict, Mapping):
        return "map"
    if origin is tuple:
        return "list of texts" if get_args(annotation)[0] is str else "list of addresses"
    if origin is not None:
        return _kind(get_args(annotation)[0])
    if issubclass(annotation, PurePath):
        return "path"
    if issubclass(annotation, BaseModel):
        return f"{{{', '.join(annotation.model_fields)}}}"
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    return words[annotation.__name__]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value == () or value == {}:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _text(field: FieldInfo) -> str:
    return " ".join((field.description or "").replace("``", "`").split())


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
