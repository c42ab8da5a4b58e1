"""The labellers: every class in this folder's files that names its `type`.

To add one, write its file. `KINDS` has them in the order of the files' names.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal, Union, get_origin

from pydantic import Discriminator

from trainers.preferences import labellers
from trainers.preferences.labellers.base import Labeller


def _kinds_in(module: ModuleType) -> list[type[Labeller]]:
    """The labellers that a module defines, in its order. A base class leaves `type` open."""
    return [
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind)
        and issubclass(kind, Labeller)
        and kind.__module__ == module.__name__
        and get_origin(kind.model_fields["type"].annotation) is Literal
    ]


def _modules() -> list[ModuleType]:
    names = sorted(found.name for found in iter_modules(labellers.__path__))
    return [import_module(f"{labellers.__name__}.{name}") for name in names if name != "registry"]


KINDS: tuple[type[Labeller], ...] = tuple(
    kind for module in _modules() for kind in _kinds_in(module)
)

if TYPE_CHECKING:
    AnyLabeller = Labeller
else:
    AnyLabeller = Annotated[Union[KINDS], Discriminator("type")]  # noqa: UP007 - of a tuple
