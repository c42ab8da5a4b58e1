"""What policy, reward model and trainers must know of chat templates alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jinja2

DEVELOPER, SYSTEM = "developer", "system"

TEMPLATE_ERRORS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What a template raises on messages that it was not written for."""


def without_developer(turns: Sequence[dict[str, Any]], template: object) -> list[dict[str, Any]]:
    """``turns``, whose contents are text, with the system's in place of the developer's where
    ``template`` does not name that role.

    ``developer`` is OpenAI's name for what was ``system``. A template that only asks for the roles
    that it knows drops such a message without a word, so that a model neither sees its instructions
    nor is scored on them. vLLM makes it a system message; this gives the same text. Many templates
    take a system message in the first place alone, so all of them become one there.
    """
    source = str(template)
    known = any(f"{quote}{DEVELOPER}{quote}" in source for quote in "\"'")
    if known or all(turn["role"] != DEVELOPER for turn in turns):
        return list(turns)
    instructions = [turn for turn in turns if turn["role"] in (DEVELOPER, SYSTEM)]
    content = "\n\n".join(turn["content"] for turn in instructions if turn["content"])
    others = [turn for turn in turns if turn["role"] not in (DEVELOPER, SYSTEM)]
    return [{"role": SYSTEM, "content": content}, *others]
