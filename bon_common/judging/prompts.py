"""How a chat model is asked which of two answers is better, and how its verdict is read.

Judges prefer an answer for its place (Zheng et al. 2023, arXiv:2306.05685), so callers ask for each
pair in both orders and decide what a disagreement means.
"""

from __future__ import annotations

import re
from typing import Literal

PROMPT = """\
Compare two answers to the same conversation. Judge how well each does what the user wants: \
is it right, complete, clear and safe? Length is no merit, and neither is the order in which the \
answers are shown.

# Conversation
{conversation}

# Answer A
{a}

# Answer B
{b}

Explain your judgement in a few sentences. Then end with one of [[A]], [[B]] or [[tie]]."""

MAX_TOKENS = 512
"""Room for the explanation and the verdict."""

Choice = Literal["A", "B", "TIE"]
_VERDICT = re.compile(r"\[\[\s*(A|B|C|tie)\s*\]\]", re.IGNORECASE)


def read_verdict(reply: str) -> Choice | None:
    """The last [[A]], [[B]] or [[tie]] ([[C]] means a tie too), or None if there is none."""
    found = _VERDICT.findall(reply)
    if not found:
        return None
    last = found[-1].upper()
    return "A" if last == "A" else "B" if last == "B" else "TIE"


def fill(template: str, **texts: str) -> str:
    """The template with its fields replaced; braces anywhere else stay as they are.

    It is done in one pass, so that a field's name inside a text is not replaced too.
    """
    fields = "|".join(rf"\{{{name}\}}" for name in texts)
    return re.sub(fields, lambda found: texts[found[0][1:-1]], template)


def require_fields(template: str, *names: str) -> str:
    """The template; ValueError if it lacks one of its fields."""
    for name in names:
        if f"{{{name}}}" not in template:
            raise ValueError(f"{{{name}}} is missing")
    return template
