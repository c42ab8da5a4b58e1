"""Where thinking stands inside a message's content, and what follows it.

A policy whose engine runs no reasoning parser leaves the thinking in the content. Clients get that
as it is; what checks and scores an answer looks at what follows.
"""

from __future__ import annotations

from typing import Protocol


class Thinking(Protocol):
    """The words with which a policy begins and ends its thinking."""

    @property
    def start(self) -> str: ...

    @property
    def end(self) -> str: ...


def after_thinking(content: str, thinking: Thinking | None) -> str | None:
    """The answer in ``content``; None if the thinking in it has not ended.

    Some chat templates open the thinking themselves, so ``end`` counts without ``start`` too.
    """
    if thinking is None:
        return content
    _, end, answer = content.partition(thinking.end)
    if end:
        return answer.lstrip()
    return None if content.lstrip().startswith(thinking.start) else content
