"""Functions that settings name: ``package.module:function``.

Only the operator's own settings may name one, because it is code that then runs.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from bon_common.settings.errors import SettingsError

HOOK_PATTERN = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
HookName = Annotated[str, Field(pattern=HOOK_PATTERN)]


def load_hook(name: str, *arguments: str, key: str = "function") -> Callable[..., Any]:
    """Import the function of that name. Its callers pass ``arguments`` by position.

    Raises SettingsError, with the setting's ``key``, for a function that cannot be used.
    """
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
    except Exception as error:
        # Importing a module may raise whatever the module does.
        text = f"{name}: cannot be imported: {error}"
        if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
            text += "; install it, or put the folder that it is in on PYTHONPATH"
        raise SettingsError("settings", key, text) from error
    member = getattr(found, attribute, None)
    if not callable(member):
        what = "there is no function of this name" if member is None else "it is no function"
        raise SettingsError("settings", key, f"{name}: {what}")
    function: Callable[..., Any] = member
    if inspect.isasyncgenfunction(function):
        reason = f"{name}: it is an async generator; it should return its result"
        raise SettingsError("settings", key, reason)
    try:
        signature = inspect.signature(function)
    except ValueError:
        return function  # Some functions written in C do not say what they take.
    try:
        signature.bind(*arguments)
    except TypeError:
        called = f"it is called with ({', '.join(arguments)}), and takes {signature}"
        raise SettingsError("settings", key, f"{name}: {called}") from None
    return function


def is_async(function: Callable[..., Any]) -> bool:
    """Whether its calls have to be awaited: an ``async`` function, or an object that is called like
    one."""
    while isinstance(function, partial):
        function = function.func
    called = getattr(type(function), "__call__", None)  # noqa: B004 - to look at it
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def hook_files(name: str) -> list[Path]:
    """Files with the source of a loaded function of that name: its module's, and that of the module
    that defines it. Empty for other names."""
    if re.fullmatch(HOOK_PATTERN, name) is None:
        return []
    module, _, attribute = name.partition(":")
    function = getattr(sys.modules.get(module), attribute, None)
    defined_in = getattr(function, "__module__", None)
    files = {
        getattr(sys.modules.get(one), "__file__", None)
        for one in (module, defined_in)
        if isinstance(one, str)
    }
    return sorted(Path(file) for file in files if isinstance(file, str))


def load_number_hook(
    name: str, field: str | None, *arguments: str, key: str
) -> Callable[..., float]:
    """The same for a plain function that returns a number, or an object with a number in
    ``field``."""
    function = load_hook(name, *arguments, key=key)
    if is_async(function):
        raise SettingsError("settings", key, f"{name}: it is async; here it must be plain")

    def number(*given: object) -> float:
        found = function(*given)
        return float(found if field is None else getattr(found, field))

    return number
