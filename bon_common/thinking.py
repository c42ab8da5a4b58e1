"""Thinking inside a message's content, and the answer after it.

An engine without a reasoning parser leaves the thinking in the content, and so does a policy that
is sampled in process. Gateway and trainers must find the same answer behind it.
"""

from __future__ import annotations


def split_thinking(content: str, start: str, end: str) -> tuple[str, str | None]:
    """The thinking in ``content``, and the answer after it; None if the thinking has not ended.

    ``end`` counts without ``start`` too, because some chat templates write ``start`` into the
    prompt.
    """
    thought, found, answer = content.partition(end)
    if found:
        return thought.strip().removeprefix(start).strip(), answer.lstrip()
    if content.lstrip().startswith(start):
        return content.strip().removeprefix(start).strip(), None
    return "", content
