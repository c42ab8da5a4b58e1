"""Write the tables of settings from the docstrings: ``python scripts/settings_doc.py``.

docs/settings.md is the gateway's, docs/training-settings.md the trainers'; docs/reward-server.md
has a place for its own.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bon_gateway.backends.cache.settings import CandidateCacheSettings, RewardCacheSettings
from bon_gateway.backends.embedder.registry import KINDS as EMBEDDERS
from bon_gateway.backends.policy.registry import COMPOSED as COMPOSED_POLICIES
from bon_gateway.backends.policy.registry import KINDS as POLICIES
from bon_gateway.backends.policy.variants.settings import VariantSettings
from bon_gateway.backends.reward.ensemble.members import RewardMemberSettings
from bon_gateway.backends.reward.judge.criteria import CriterionSettings
from bon_gateway.backends.reward.judge.registry import METHODS
from bon_gateway.backends.reward.judge.settings import JudgeBudgetSettings
from bon_gateway.backends.reward.registry import COMPOSED as COMPOSED_REWARDS
from bon_gateway.backends.reward.registry import KINDS as REWARDS
from bon_gateway.backends.settings import LengthCalibrationSettings
from bon_gateway.sections.base import Component, Section, type_name
from bon_gateway.sections.recording import RecordingSettings
from bon_gateway.sections.server import AuthSettings, LimitsSettings, ServerSettings
from bon_gateway.settings.tree import ServedModelSettings
from bon_gateway.strategies.extract import EXTRACTS
from bon_gateway.strategies.registry import KINDS as STRATEGIES
from bon_gateway.strategies.signals import SIGNALS
from bon_gateway.strategies.similarity import SIMILARITIES
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.verifiers.graders.model import (
    GraderMessageSettings,
    GraderSamplingSettings,
    InputTextSettings,
)
from bon_gateway.verifiers.registry import KINDS as VERIFIERS
from bon_gateway.verifiers.registry import REWARDS as VERIFIER_REWARDS
from reward_server.model_settings import EnsembleSettings
from reward_server.settings import Settings as RewardServerSettings
from trainers.base.settings import Settings as TrainersSettings
from trainers.commands import COMMANDS

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- settings: written by `make docs` -->\n", "<!-- end of settings -->\n"
HEAD = """\
# Settings

One YAML file (`bon-gateway serve --config FILE`), overridden by environment variables
(`BON_GATEWAY__SERVER__PORT=9000`: two underscores between the parts, the value read as YAML),
overridden by flags (`--set server.port=9000`, and `--host`, `--port`, `--workers`,
`--log-level`). An unknown key is an error that names it. `--print-config` shows the result.
`policies`, `rewards`, `embedders` and `models` are maps from a name of your choice.

`make docs` writes this page from the settings classes of `bon_gateway/`.
"""
TRAINING_HEAD = """\
# Settings of bon-train

One YAML file (`bon-train COMMAND --config FILE`), overridden by environment variables
(`BON_TRAIN__LORA__R=8`: two underscores between the parts, the value read as YAML), overridden by
flags (`--set lora.r=8`). An unknown key is an error that names it. `--print-config` shows the
result. `bon-train init COMMAND` writes a file in which all of this stands.

`make docs` writes this page from the settings classes of `trainers/`.
"""


def pages() -> dict[Path, str]:
    """What each page should hold."""
    gateway, reward_server = DOCS / "settings.md", DOCS / "reward-server.md"
    sections = [_section(f"## {title}", section, words) for title, section, words in _sections()]
    models = _section("### models.<name>, type: ensemble", EnsembleSettings, "")
    known = RewardServerSettings.model_fields
    first = {name: known[name] for name in ("model", "models")}
    table = _table(first | known) + models
    return {
        gateway: HEAD + "".join(sections),
        DOCS / "training-settings.md": TRAINING_HEAD + "".join(_trainers()),
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
    yield "policies.<name>.cache", CandidateCacheSettings, ""
    yield from _kinds("policies.<name>", COMPOSED_POLICIES)
    yield "policies.<name>.of", VariantSettings, inspect.getdoc(VariantSettings) or ""
    yield from _kinds("rewards.<name>", REWARDS)
    for title, kind, _ in _kinds("rewards.<name>", VERIFIER_REWARDS):
        yield title, kind, inspect.getdoc(sys.modules[kind.__module__]) or ""
    yield "rewards.<name>.length_calibration", LengthCalibrationSettings, ""
    yield "rewards.<name>.cache", RewardCacheSettings, ""
    for title, kind, _ in _kinds("rewards.<name>.method", METHODS):
        # The file of a method explains how it judges, and when it helps and harms.
        yield title, kind, inspect.getdoc(sys.modules[kind.__module__]) or ""
    yield "rewards.<name>.method.criteria", CriterionSettings, ""
    yield "rewards.<name>.budget", JudgeBudgetSettings, inspect.getdoc(JudgeBudgetSettings) or ""
    for title, kind, _ in _kinds("rewards.<name>", COMPOSED_REWARDS):
        yield title, kind, inspect.getdoc(sys.modules[kind.__module__]) or ""
    yield "rewards.<name>.members", RewardMemberSettings, ""
    yield from _kinds("embedders.<name>", EMBEDDERS)
    yield "models.<name>", ServedModelSettings, ""
    for title, kind, _ in _kinds("models.<name>.verifier", VERIFIERS):
        yield title, kind, inspect.getdoc(kind) or ""
    for title, section in (
        ("input", GraderMessageSettings),
        ("input.content", InputTextSettings),
        ("sampling_params", GraderSamplingSettings),
    ):
        place = f"models.<name>.verifier.{title}"
        yield place, section, inspect.getdoc(section) or ""
    for title, kind, _ in _kinds("models.<name>.strategy", STRATEGIES):
        # A strategy's file says what it does, and when it helps and harms.
        yield title, kind, inspect.getdoc(sys.modules[kind.__module__]) or ""
    for title, kind, _ in [
        *_kinds("models.<name>.strategy.extract", EXTRACTS),
        *_kinds("models.<name>.strategy.signal", SIGNALS),
        *_kinds("models.<name>.strategy.similarity", SIMILARITIES),
    ]:
        yield title, kind, inspect.getdoc(kind) or ""
    yield "server", ServerSettings, ""
    yield "auth", AuthSettings, ""
    yield "limits", LimitsSettings, ""
    yield "recording", RecordingSettings, ""


def _kinds(
    place: str, kinds: Sequence[type[Component]]
) -> Iterator[tuple[str, type[Component], str]]:
    for kind in kinds:
        yield f"{place}, type: {type_name(kind)}", kind, ""


def _trainers() -> Iterator[str]:
    """What several commands have in common, then each command, then the sections inside them."""
    heirs: dict[type[BaseModel], list[str]] = {}
    for name, command in COMMANDS.items():
        for base in command.settings.__mro__[1:]:
            if issubclass(base, TrainersSettings) and base is not TrainersSettings:
                heirs.setdefault(base, []).append(name)
    shared = {base: names for base, names in heirs.items() if len(names) > 1}
    inner: dict[type[BaseModel], list[str]] = {}
    for base, names in shared.items():
        title = f"## What {', '.join(names[:-1])} and {names[-1]} have in common"
        yield _section(title, base, _doc(base))
        _note_sections(base, "", inner)
    for name, command in COMMANDS.items():
        kind = command.settings
        common = {key for base in shared if issubclass(kind, base) for key in base.model_fields}
        words = f"{_doc(kind)} It has the common settings above, too." if common else _doc(kind)
        own = {key: field for key, field in kind.model_fields.items() if key not in common}
        yield "\n".join(["", f"## {name}", "", words.replace("``", "`"), ""])
        if own:
            yield "\n" + _table(own)
        _note_sections(kind, f"{name}.", inner, without=common)
    for section, places in inner.items():
        title = f"## {', '.join(dict.fromkeys(places))}"
        yield _section(title, section, _doc(section))


def _note_sections(
    kind: type[BaseModel],
    place: str,
    inner: dict[type[BaseModel], list[str]],
    without: Collection[str] = (),
) -> None:
    """Add the sections inside a class to those found so far, each with all its places."""
    for key, field in kind.model_fields.items():
        for section in [] if key in without else _sections_in(field.annotation):
            known = section in inner
            own = f", type: {_type_of(section)}" if "type" in section.model_fields else ""
            inner.setdefault(section, []).append(f"{place}{key}{own}")
            if not known:
                _note_sections(section, f"{place}{key}.", inner)


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections_in(argument)


def _type_of(section: type[BaseModel]) -> str:
    return str(get_args(section.model_fields["type"].annotation)[0])


def _doc(section: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(section) or "").split())


def _section(title: str, section: type[BaseModel], words: str) -> str:
    if set(section.model_fields) == {"type"}:
        return "\n".join(["", title, "", f"{words} It has no further settings.".strip(), ""])
    said = [words.replace("``", "`"), ""] if words else []
    return "\n".join(["", title, "", *said, _table(section.model_fields)])


def _table(fields: Mapping[str, FieldInfo]) -> str:
    """A row for each field."""
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
        return f"list of {_kinds_of_items(get_args(annotation)[0])}"
    if origin is not None:
        return _kind(get_args(annotation)[0])
    if issubclass(annotation, PurePath):
        return "path"
    if issubclass(annotation, BaseModel):
        return f"{{{', '.join(annotation.model_fields)}}}"
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    return words[annotation.__name__]


def _kinds_of_items(annotation: Any) -> str:
    """What a list holds; an annotated text is an address."""
    if get_origin(annotation) is Annotated and get_args(annotation)[0] is str:
        return "addresses"
    kind = _kind(annotation)
    if kind == "one of the types below":
        return "the types below"
    return re.sub(r"^\w[\w ]*$", r"\g<0>s", kind)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        own = value.model_dump()
        return f"`{{type: {own['type']}}}`" if "type" in own else "its defaults"
    if isinstance(value, str) and "\n" in value:
        return "a text that ships"
    if isinstance(value, tuple) and value:
        return f"`{', '.join(map(str, value))}`"
    if value is None or value == () or value == {}:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _text(field: FieldInfo) -> str:
    """Its docstring; of a section without one, what its class says."""
    inside = [*_sections_in(field.annotation)]
    text = field.description or (inspect.getdoc(inside[0]) if inside else "") or ""
    return " ".join(text.replace("``", "`").split())


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
