"""The true reward of an answer, where a function knows it. It is measured, never trained on."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated

from pydantic import Field

from trainers.base.data import Message
from trainers.base.errors import SettingsError
from trainers.base.settings import Settings

Gold = Callable[[Sequence[Message], str], float]
"""The true reward of an answer to a conversation."""


class GoldSettings(Settings):
    """A function of yours that knows the true reward."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    """``package.module:function``, called with the conversation's messages and the answer's text;
    the demo world's is ``trainers.demo.gold:gold``."""
    field: str | None = None
    """The attribute of what it returns that is the reward; None where it returns a number."""


def load_gold(settings: GoldSettings) -> Gold:
    """The function. Raises SettingsError if there is none of that name."""
    module, _, name = settings.function.partition(":")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"gold.function: {settings.function}: {error}") from error

    def gold(messages: Sequence[Message], answer: str) -> float:
        found = function(messages, answer)
        return float(found if settings.field is None else getattr(found, settings.field))

    return gold
