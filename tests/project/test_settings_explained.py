"""Every setting says what it is, in the line under it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from bon_gateway.calibrate.settings import CalibrateSettings
from bon_gateway.compare.settings import CompareSettings
from bon_gateway.replay.settings import ReplaySettings
from bon_gateway.settings.tree import Settings
from reward_server.settings import Settings as RewardServerSettings
from trainers.commands import COMMANDS

ROOTS: tuple[type[BaseModel], ...] = (
    Settings,
    CompareSettings,
    ReplaySettings,
    CalibrateSettings,
    RewardServerSettings,
    *(command.settings for command in COMMANDS.values()),
)


def sections(kind: Any) -> Iterator[type[BaseModel]]:
    """The sections of settings that stand in a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for argument in get_args(kind):
        yield from sections(argument)


def all_sections() -> list[type[BaseModel]]:
    """With their base classes, which explain what their heirs have in common."""
    found: dict[type[BaseModel], None] = {}
    waiting: list[type[BaseModel]] = [*ROOTS]
    while waiting:
        section = waiting.pop()
        if section in found:
            continue
        found[section] = None
        for field in section.model_fields.values():
            waiting += sections(field.annotation)
        waiting += [base for base in section.__mro__ if base not in (section, BaseModel)
                    and issubclass(base, BaseModel)]  # fmt: skip
    return [section for section in found if section.__module__ != "pydantic.main"]


def unexplained(source: str) -> list[str]:
    """The fields of a class that no text follows. ``type`` only names the section."""
    (section,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(section, ast.ClassDef)
    followed = zip(section.body, [*section.body[1:], None], strict=True)
    return [
        statement.target.id
        for statement, after in followed
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and statement.target.id != "type"
        and "ClassVar" not in ast.unparse(statement.annotation)
        and not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant))
    ]


def test_all_are_looked_at() -> None:
    names = {section.__name__ for section in all_sections()}
    assert {"UpstreamSettings", "BestOfNSettings", "ArmSettings", "LoraSettings"} <= names


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.__qualname__)
def test_each_field_is_explained(section: type[BaseModel]) -> None:
    if "BonOverride" in section.__name__:
        return  # made of the strategies' own fields
    own = {name for name in unexplained(inspect.getsource(section)) if name in section.model_fields}
    for name in sorted(own):
        inside = list(sections(section.model_fields[name].annotation))
        assert inside, f"{section.__name__}.{name} has no explanation"
        # A section explains itself.
        assert all(kind.__doc__ for kind in inside), f"{section.__name__}.{name}"


def test_one_without_a_text_is_found() -> None:
    source = '''
    class Some:
        a: int
        """Number of it."""
        b: int = 1
        type: str
    '''
    assert unexplained(source) == ["b"]
