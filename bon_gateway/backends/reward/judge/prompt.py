"""The question to a judge, as a Jinja template: ours, or the operator's own.

Every template has these variables, and those of its method:

    conversation   the conversation as text, with the tools that the assistant may call
    messages       its messages, for templates that show them in their own way
    tools          its tools; empty if there are none
    fence          the mark that stands around answers: random, and in none of them

The operator writes a template, but clients and models write the texts in it. So it runs in a
sandbox. An unknown variable is an error, not an empty text.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta
from jinja2.sandbox import SandboxedEnvironment

from bon_common.chat_template import TEMPLATE_ERRORS
from bon_common.settings.errors import SettingsError

TEMPLATES = Path(__file__).parent / "templates"
KEY = "prompt"
EXAMPLE = {
    "conversation": "user: Which city is the capital of France?",
    "messages": [{"role": "user", "content": "Which city is the capital of France?"}],
    "tools": [],
    "fence": "0123456789abcdef",
}


class PromptError(Exception):
    """A template that cannot be rendered. The message quotes no text of the conversation."""


class Prompt:
    """A template that has been read."""

    def __init__(self, name: str, source: str) -> None:
        """Raises SettingsError with the line at fault."""
        # No escaping: the judge reads plain text, and HTML escapes would change answers.
        self._environment = SandboxedEnvironment(
            autoescape=False,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._name = name
        self._source = source
        try:
            self._template = self._environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise SettingsError(name, KEY, f"line {error.lineno}: {error.message}") from None

    def render(self, variables: Mapping[str, Any]) -> str:
        """Raises PromptError."""
        try:
            return self._template.render(variables)
        except TEMPLATE_ERRORS as error:
            line = next(
                (
                    f", line {frame.lineno}"
                    for frame in reversed(traceback.extract_tb(error.__traceback__))
                    if frame.filename == "<template>"
                ),
                "",
            )
            raise PromptError(f"{type(error).__name__}{line}") from None

    def try_out(self, example: Mapping[str, Any], shown: Sequence[str]) -> None:
        """Raises SettingsError unless it renders ``example`` and shows all variables in
        ``shown``: with another text in one of them the question must be another."""
        used = meta.find_undeclared_variables(self._environment.parse(self._source))
        for name in sorted(used.difference(EXAMPLE, example)):
            known = ", ".join(sorted({*EXAMPLE, *example}))
            raise SettingsError(self._name, KEY, f"{name} is no variable; there are: {known}")
        values = {**EXAMPLE, **example}
        try:
            question = self.render(values)
            for name in shown:
                # A template may name a variable and still not show it, such as in a condition.
                for other in _others(values[name]):
                    if name not in used or self.render({**values, name: other}) == question:
                        raise SettingsError(self._name, KEY, f"it does not show {{{{ {name} }}}}")
        except PromptError as error:
            raise SettingsError(self._name, KEY, f"it cannot be rendered: {error}") from None


def _others(value: Any) -> Iterator[Any]:
    """The same value with one of its texts changed, for each text in it. The length stays, so that
    a template which shows only that is found."""
    if isinstance(value, str):
        yield "".join(chr(ord(character) + 1) for character in value)
        return
    for key, text in value.items():
        for other in _others(text):
            yield {**value, key: other}


def own_prompt(template: str) -> Prompt:
    """One of ours."""
    return Prompt(template, (TEMPLATES / template).read_text(encoding="utf-8"))


def users_prompt(path: str, example: Mapping[str, Any], shown: Sequence[str]) -> Prompt:
    """Raises SettingsError for a file that cannot be used."""
    try:
        source = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SettingsError(path, KEY, f"cannot be read: {reason}") from error
    prompt = Prompt(path, source)
    prompt.try_out(example, shown)
    return prompt
