"""Functions that settings name: ``package.module:function``.

Only the operator's own settings may name one, for it is code that then runs. What is wrong with
the name, the module or the function becomes a HookError with a reason for the operator.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from bon_common.settings.errors import SettingsError

HookName = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


class HookError(Exception):
    """A function that cannot be used. It begins with the function's name."""


def load_hook(name: str, *arguments: str) -> Callable[..., Any]:
    """Import the function of that name. Its callers pass ``arguments`` by position.

    Raises HookError.
    """
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
    except Exception as error:
        # Importing a module may raise whatever the module does.
        raise HookError(f"{name}: cannot be imported: {error}") from error
    member = getattr(found, attribute, None)
    if not callable(member):
        what = "there is no function of this name" if member is None else "it is no function"
        raise HookError(f"{name}: {what}")
    function: Callable[..., Any] = member
    _check_signature(name, function, arguments)
    return function


def _check_signature(name: str, function: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # Some functions that are written in C do not tell what they take.
    try:
        signature.bind(*arguments)
    except TypeError:
        called = f"it is called with ({', '.join(arguments)})"
        raise HookError(f"{name}: {called}, and takes {signature}") from None


def load_number_hook(name: str, field: str | None, *arguments: str) -> Callable[..., float]:
    """The same for a function that returns a number, or an object with a number in ``field``."""
    function = load_hook(name, *arguments)

    def number(*given: object) -> float:
        found = function(*given)
        return float(found if field is None else getattr(found, field))

    return number


def check_hook(name: str, *arguments: str) -> None:
    """Raises SettingsError for a ``function`` that cannot be used."""
    try:
        load_hook(name, *arguments)
    except HookError as error:
        raise SettingsError("settings", "function", str(error)) from error
