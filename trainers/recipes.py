"""`bon-train init`: writes a settings file in which every setting of a command is explained.

A recipe is a shipped `configs/qwen-NAME.yaml`. Its values are set; all other settings stand there
commented out, with their defaults. The comments are the docstrings of the settings classes.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bon_common.settings.sources import SettingsTree
from trainers.base.errors import SettingsError
from trainers.base.files import replaced
from trainers.base.settings import shipped
from trainers.commands import COMMANDS

PREFIX = "qwen-"
ORDER = (
    *("collect", "label", "prepare", "sft", "reward", "evaluate"),
    *("dpo", "iterate", "grpo", "ppo", "export"),
)
"""Of the commands that have a recipe."""
MODEL = re.compile(r"(Qwen/)?Qwen2\.5-0\.5B-Instruct")
"""The policy of all recipes, and its bare name in their prose."""
RUNS = "runs/qwen"
"""The folder of all recipes' files."""
WIDTH = 100
UNSET = object()
"""No value in the recipe."""


def recipes() -> dict[str, str]:
    """The command of each recipe, in the order of use. `log-prepare` is one more of `prepare`."""
    names = sorted(path.stem.removeprefix(PREFIX) for path in shipped("").glob(f"{PREFIX}*.yaml"))
    known = {name: name.rpartition("-")[2] for name in names}
    return dict(sorted(known.items(), key=lambda one: ORDER.index(one[1])))


def listing() -> str:
    """A line for each recipe."""
    wide = max(map(len, recipes()))
    lines = [f"  {name:{wide}} {_head(name)}" for name in recipes()]
    return "\n".join(["recipes (bon-train init NAME):", *lines])


def write_recipe(
    name: str,
    output: Path | None,
    *,
    model: str | None = None,
    runs: str | None = None,
    overwrite: bool = False,
) -> tuple[str, Path]:
    """Write a recipe; returns its command and the file. `model` and `runs` stand in place of the
    recipe's own model and folder. SettingsError if there is no such recipe, or if the file exists
    and may not be overwritten."""
    known = recipes()
    if name not in known:
        raise SettingsError(f"{name}: no such recipe; there are {', '.join(known)}")
    path = output or Path(f"{name}.yaml")
    if path.exists() and not overwrite:
        raise SettingsError(f"{path}: already there; --overwrite replaces it")
    text = text_of_recipe(name)
    for option, value in (("model", model), ("runs", runs)):
        if value is not None and not _stands_for_itself(value):
            raise SettingsError(
                f"--{option}: YAML reads {value!r} as something else; write it there in quotes"
            )
    # In the comments too, which say how the model is served.
    if model is not None:
        text = MODEL.sub(lambda found: model if found[1] else Path(model).name, text)
    text = text if runs is None else text.replace(RUNS, runs.rstrip("/"))
    with replaced(path) as out:
        out.write(text)
    return known[name], path


def _stands_for_itself(text: str) -> bool:
    """Whether YAML reads these words, without quotes, as they are."""
    try:
        return bool(yaml.safe_load(f"[{text}, key: {text}]") == [text, {"key": text}])
    except yaml.YAMLError:
        return False


def text_of_recipe(name: str) -> str:
    """The settings file of a recipe, with its comments."""
    settings = COMMANDS[recipes()[name]].settings
    tree = SettingsTree()
    tree.read(_path(name))
    lines = [*_leading_comment(_path(name)), "#", *_prose(_doc(settings), ""), "#"]
    lines += _prose(
        "What is commented out below is the default. `--set key=value` and "
        "BON_TRAIN__KEY in the environment override this file.",
        "",
    )
    return "\n".join([*lines, *_section(settings, tree.root, ""), ""])


def _head(name: str) -> str:
    """The first sentence of a recipe's own comment."""
    words = " ".join(line.removeprefix("#").strip() for line in _leading_comment(_path(name)))
    return words.partition(". ")[0].rstrip(".")


def _path(name: str) -> Path:
    return shipped(f"{PREFIX}{name}.yaml")


def _leading_comment(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    count = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return lines[:count]


def _section(
    kind: type[BaseModel], values: Mapping[str, Any], indent: str, *, active: bool = False
) -> Iterator[str]:
    """The lines of a section. `values` is what the recipe sets of it. `active` leaves defaults in
    force, for a section that is commented out as a whole."""
    for name, field in _in_order(kind, values, indent):
        if not indent:
            yield ""
        yield from _prose(_explanation(field), indent)
        value = values.get(name, UNSET)
        if value is UNSET:
            yield from _default(name, field, indent, active=active)
        elif isinstance(value, Mapping) and (sections := _sections(field.annotation)):
            yield f"{indent}{name}:"
            yield from _section(_chosen(sections, value), value, f"{indent}  ")
        else:
            yield from _plain(name, value, indent)


def _in_order(
    kind: type[BaseModel], values: Mapping[str, Any], indent: str
) -> list[tuple[str, FieldInfo]]:
    """The settings, and at the top of a file those first that somebody has to look at: the
    recipe's."""
    fields = list(kind.model_fields.items())
    return fields if indent else sorted(fields, key=lambda one: one[0] not in values)


def _default(name: str, field: FieldInfo, indent: str, *, active: bool) -> Iterator[str]:
    """The lines of a setting that the recipe does not name."""
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    sections = _sections(field.annotation)
    if sections:
        one = type(default) if isinstance(default, BaseModel) else sections[0]
        lines = [f"{indent}{name}:", *_section(one, {}, f"{indent}  ", active=True)]
        # Without its #, an optional section would be there.
        active = active and default is not None
    else:
        lines = list(_plain(name, default, indent))
    # No space behind the #, so that prose is told apart.
    yield from lines if active else (f"{indent}#{line.removeprefix(indent)}" for line in lines)


def _plain(name: str, value: Any, indent: str) -> Iterator[str]:
    """`name: value` as YAML."""
    value = _as_plain(value)
    if isinstance(value, str) and "\n" in value and not value.strip():
        yield f"{indent}{name}: {json.dumps(value)}"
        return
    if isinstance(value, str) and "\n" in value:
        yield f"{indent}{name}: |{'' if value.endswith(chr(10)) else '-'}"
        yield from (f"{indent}  {line}".rstrip() for line in value.splitlines())
        return
    flow = not (isinstance(value, dict) and any(isinstance(one, dict) for one in value.values()))
    if flow:
        text = yaml.safe_dump(
            value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000
        )
        yield f"{indent}{name}: {text.removesuffix('...' + chr(10)).strip()}"
        return
    yield f"{indent}{name}:"
    block = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    yield from (f"{indent}  {line}" for line in block.splitlines())


def _as_plain(value: Any) -> Any:
    """A default as YAML has it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path | Enum):
        return str(value)
    if isinstance(value, tuple):
        return [_as_plain(one) for one in value]
    return value


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a setting may hold; none for a map or a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType):
        return [one for part in get_args(annotation) for one in _sections(part)]
    return []


def _chosen(sections: list[type[BaseModel]], value: Mapping[str, Any]) -> type[BaseModel]:
    """The section of a union that the value's `type` names."""
    return next((one for one in sections if value.get("type") in _types(one)), sections[0])


def _types(section: type[BaseModel]) -> tuple[Any, ...]:
    field = section.model_fields.get("type")
    return get_args(field.annotation) if field is not None else ()


def _explanation(field: FieldInfo) -> str:
    """What a setting's docstring says, or for a section without one what its class says; and which
    values there are."""
    sections = _sections(field.annotation)
    text = field.description or (_doc(sections[0]) if len(sections) == 1 else "")
    kinds = [kind for one in sections for kind in _types(one)]
    choices = [str(one) for one in _literals(field.annotation)]
    if len(kinds) > 1:
        text += f" `type` is one of {', '.join(kinds)}."
    elif len(choices) > 1:
        text += f" One of {', '.join(choices)}."
    return f"{text} Required." if field.is_required() and text else text


def _literals(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return tuple(value for part in get_args(annotation) for value in _literals(part))
    return ()


def _doc(kind: type[BaseModel]) -> str:
    return inspect.getdoc(kind) or ""


def _prose(text: str, indent: str) -> Iterator[str]:
    words = " ".join(text.replace("``", "`").split())
    for line in textwrap.wrap(words, WIDTH - len(indent) - 2, break_long_words=False):
        yield f"{indent}# {line}"
