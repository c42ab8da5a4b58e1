"""What the policy, the reward models and the trainers must do alike with chat templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

DEVELOPER, SYSTEM = "developer", "system"

OWN_ARGUMENTS = frozenset(
    (
        *("add_generation_prompt", "chat_template", "continue_final_message", "conversation"),
        *("documents", "max_length", "padding", "return_assistant_tokens_mask", "return_dict"),
        *("return_tensors", "tokenize", "tokenizer_kwargs", "tools", "truncation"),
    )
)
"""Arguments of ``apply_chat_template`` that are not variables of the template."""

DEFAULT, TOOL_USE = "default", "tool_use"
"""The names that a tokenizer with several templates gives to the two that are chosen by default."""

TEMPLATE_ERRORS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""Errors that a template may raise for messages it was not written for."""


def chosen_template(template: object, *, tools: bool) -> object:
    """The template that transformers and vLLM take: of several named ones the one for tools where
    there are ``tools``, else the default. None if neither is there."""
    if not isinstance(template, Mapping):
        return template
    named = template.get(TOOL_USE) if tools else None
    return template.get(DEFAULT) if named is None else named


def without_developer(turns: Sequence[dict[str, Any]], template: object) -> list[dict[str, Any]]:
    """``turns`` with developer messages turned into a system message, if ``template`` does not name
    the developer role. Contents must be text.

    ``developer`` is OpenAI's new name for ``system``. A template that handles only the roles it
    knows drops such a message silently: the model would neither see the instructions nor be scored
    on them. vLLM makes it a system message; this gives the same text. Many templates accept a
    system message only in the first place, so all of them are joined there.
    """
    source = str(template)
    known = any(f"{quote}{DEVELOPER}{quote}" in source for quote in "\"'")
    if known or all(turn["role"] != DEVELOPER for turn in turns):
        return list(turns)
    instructions = [turn for turn in turns if turn["role"] in (DEVELOPER, SYSTEM)]
    content = "\n\n".join(turn["content"] for turn in instructions if turn["content"])
    others = [turn for turn in turns if turn["role"] not in (DEVELOPER, SYSTEM)]
    return [{"role": SYSTEM, "content": content}, *others]
