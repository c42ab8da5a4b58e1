"""Errors of chat templates and tokenizers, in one line for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bon_common.chat_template import TEMPLATE_ERRORS
from bon_common.messages import MessageError
from reward_server.errors import RenderError
from trainers.base.errors import DataError


@contextmanager
def refusals(where: str) -> Iterator[None]:
    """Turn what a chat template or tokenizer refuses into a DataError that begins with `where`."""
    try:
        yield
    except (RenderError, MessageError) as error:
        raise DataError(f"{where}: {_one_line(error)}") from error
    except TEMPLATE_ERRORS as error:
        reason = f"the chat template refuses these messages: {_one_line(error)}"
        raise DataError(f"{where}: {reason}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
