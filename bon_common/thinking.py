"""Thinking inside a message's content, and the answer after it.

An engine without a reasoning parser leaves the thinking in the content, and so does a policy that
is sampled in process. Gateway and trainers must find the same answer behind it.

An answer may speak of the marks themselves. So a policy's thinking ends at the first end mark, as
in vLLM's parsers: nothing that a client should see is lost. For a judge's verdict the last end mark
counts, because a verdict must never be read from thinking.
"""

from __future__ import annotations


def split_thinking(content: str, start: str, end: str) -> tuple[str, str | None]:
    """The thinking in ``content``, and the answer after it; None if the thinking has not ended.

    ``end`` counts without ``start`` too, because some chat templates write ``start`` into the
    prompt. Further blocks that follow at once are thinking as well.
    """
    thought, found, answer = content.partition(end)
    if not found:
        if content.lstrip().startswith(start):
            return content.strip().removeprefix(start).strip(), None
        return "", content
    thoughts = [thought.strip().removeprefix(start).strip()]
    answer = answer.lstrip()
    while answer.startswith(start):
        thought, found, rest = answer.removeprefix(start).partition(end)
        thoughts.append(thought.strip())
        if not found:
            return _joined(thoughts), None
        answer = rest.lstrip()
    return _joined(thoughts), answer


def after_all_thinking(content: str, start: str, end: str) -> str | None:
    """What follows the last end mark; None if thinking begins after it, or has not ended."""
    rest = content.rpartition(end)[2]
    return None if start in rest else rest


def _joined(thoughts: list[str]) -> str:
    return "\n\n".join(filter(None, thoughts))
