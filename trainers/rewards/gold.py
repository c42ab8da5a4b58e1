"""The true reward of an answer, if a function knows it. It is measured, never trained on."""

from collections.abc import Callable, Sequence

from bon_common.hooks import HookName, load_number_hook
from bon_common.settings import errors
from trainers.base.data import Message
from trainers.base.errors import SettingsError
from trainers.base.settings import Settings

Gold = Callable[[Sequence[Message], str], float]
"""The true reward of an answer to a conversation."""


class GoldSettings(Settings):
    """A function of yours that knows the true reward."""

    function: HookName
    """``package.module:function``, called with the conversation's messages and the answer's text;
    that of the generated tasks is ``trainers.tasks.gold:correct``, the demo world's
    ``trainers.demo.gold:gold``."""
    field: str | None = None
    """The attribute of the returned object that is the reward; None if a number is returned."""
    file: str | None = None
    """A file with what the function has to know, whose path it gets as a third argument. For
    ``trainers.tasks.gold:correct`` it is a file of GSM8K."""


def load_gold(settings: GoldSettings) -> Gold:
    """The function. Raises SettingsError for one that cannot be used."""
    beside = [] if settings.file is None else [settings.file]
    arguments = ("messages", "answer", "file")[: 2 + len(beside)]
    try:
        found = load_number_hook(settings.function, settings.field, *arguments, key="gold.function")
    except errors.SettingsError as error:
        raise SettingsError(f"{error.key}: {error.reason}") from error
    return lambda messages, answer: found(messages, answer, *beside)
