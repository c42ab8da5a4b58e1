"""Thinking inside a message's content, and the answer after it.

If a policy's engine runs no reasoning parser, the thinking stays in the content. Clients get the
content as it is; checks and the reward model look only at the answer after the thinking.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bon_common.thinking import split_thinking
from bon_gateway.sections.base import Section


class ThinkingSettings(Section):
    """How thinking is marked inside the content of a message."""

    start: Annotated[str, Field(min_length=1)] = "<think>"
    """Where thinking begins."""
    end: Annotated[str, Field(min_length=1)] = "</think>"
    """Where thinking ends. It counts without ``start`` too, because some chat templates write
    ``start`` into the prompt. The first one counts, and for a judge's verdict the last one."""


def after_thinking(content: str, thinking: ThinkingSettings | None) -> str | None:
    """The answer in ``content``; None if the thinking in it has not ended.

    ``end`` counts without ``start``, see ``ThinkingSettings``.
    """
    if thinking is None:
        return content
    return split_thinking(content, thinking.start, thinking.end)[1]
