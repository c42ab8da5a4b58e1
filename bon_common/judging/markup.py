"""Marks that engines read as control tokens of a chat template, such as ``<|im_end|>``.

An engine finds them in any text, also in an answer inside a judge's question. There they would end
the question and begin another turn, in which the answer speaks for itself.
"""

from __future__ import annotations

import re

_MARK = re.compile(
    r"<(?=\|[^|<>\s]{1,64}\|>)"  # <|im_end|>
    "|<(?=\uff5c[^\uff5c<>]{1,64}\uff5c>)"  # the same between wide bars, as DeepSeek has it
    r"|<(?=/?(?:s|bos|eos|start_of_turn|end_of_turn|unused\d{1,4})>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])"
)


def without_control_marks(text: str) -> str:
    """The text with a space inside each such mark, so that an engine reads plain text. Nothing is
    removed: a judge still sees the whole text."""
    return _MARK.sub(lambda found: f"{found[0]} ", text)
