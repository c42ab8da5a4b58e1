"""The tasks: every class in the files of `kinds/` that has a `name`.

To add one, write its file. `TASKS` has them in the order of the files' names.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from trainers.tasks import kinds
from trainers.tasks.problem import PromptTask


def _tasks_in(module: ModuleType) -> list[PromptTask]:
    """The tasks that a module defines, in its order. A base class has no name."""
    return [
        found()
        for found in vars(module).values()
        if inspect.isclass(found)
        and issubclass(found, PromptTask)
        and found.__module__ == module.__name__
        and "name" in vars(found)
    ]


def _modules() -> list[ModuleType]:
    names = sorted(found.name for found in iter_modules(kinds.__path__))
    return [import_module(f"{kinds.__name__}.{name}") for name in names]


TASKS: tuple[PromptTask, ...] = tuple(task for module in _modules() for task in _tasks_in(module))
