"""Where the final answer of a candidate stands: one section of settings for each way to find it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field

from bon_common.patterns import compile_pattern
from bon_common.selection.extract.boxed import boxed
from bon_common.selection.extract.folded import folded
from bon_common.selection.extract.json_field import json_field
from bon_common.selection.extract.numbers import last_number
from bon_common.selection.extract.regex import matched
from bon_common.selection.extract.tool_calls import called
from bon_gateway.sections.base import PATH_PATTERN, Component, Expression


class CandidateAnswer(msgspec.Struct, frozen=True):
    """What a candidate says and calls."""

    text: str
    """Without thinking, with the client's prefill."""
    calls: Sequence[Mapping[str, Any]] = ()


FindAnswer = Callable[[CandidateAnswer], str | None]
"""The final answer, equal texts for equal answers; None if there is none."""


class ByMeaning(msgspec.Struct, frozen=True):
    """Answers are equal if their embeddings are close."""

    embedder: str
    threshold: float


class ExtractSettings(Component):
    @property
    def by_meaning(self) -> ByMeaning | None:
        """How answers are compared beyond equality. Then ``build`` finds the text to compare, which
        also votes if the embedder is down."""
        return None

    @abstractmethod
    def build(self) -> FindAnswer:
        """The function that finds a final answer."""


class LastNumberSettings(ExtractSettings):
    """The last number, by its value: `$1,234.50` and `1234.5` are equal. A comma groups thousands
    and a point begins decimals. Of a fraction such as `1/2` only the 2 is read. It searches the
    last 65,536 characters."""

    type: Literal["last_number"] = "last_number"

    def build(self) -> FindAnswer:
        return lambda answer: last_number(answer.text)


class BoxedSettings(ExtractSettings):
    r"""The content of the last `\boxed{...}`, as mathematics models write it, without white space.
    A number counts by its value. It searches the last 65,536 characters."""

    type: Literal["boxed"]

    def build(self) -> FindAnswer:
        return lambda answer: boxed(answer.text)


class JsonFieldSettings(ExtractSettings):
    """A field of an answer that is JSON, plain or in a Markdown fence. Upper and lower case and
    white space in texts do not count, numbers are compared by value. An answer of more than 65,536
    characters does not vote."""

    type: Literal["json_field"]
    field: Annotated[str, Field(pattern=PATH_PATTERN)]
    """Dotted name, such as ``result.answer``. Members of lists have numbers from 0:
    ``items.0.name``."""

    def build(self) -> FindAnswer:
        return lambda answer: json_field(answer.text, self.field)


class RegexSettings(ExtractSettings):
    """What a regular expression finds. Upper and lower case and white space do not count. It
    searches the last 65,536 characters, in time linear in them."""

    type: Literal["regex"]
    pattern: Annotated[Expression, Field(min_length=1)]
    """Expression in RE2's syntax (no look-around, no back-references). Its first group in the first
    match is the final answer, without a group the whole match. For the last match begin it with
    ``(?s).*``."""

    def build(self) -> FindAnswer:
        pattern = compile_pattern(self.pattern)
        return lambda answer: matched(answer.text, pattern)


class ExactSettings(ExtractSettings):
    """The whole text. Upper and lower case and white space do not count."""

    type: Literal["exact"]

    def build(self) -> FindAnswer:
        return lambda answer: folded(answer.text)


class SemanticSettings(ExtractSettings):
    """The whole text by its meaning. In the order of index, each answer joins the class whose first
    answer is most like it, if the cosine of their embeddings is at least ``threshold``; otherwise
    it begins a class. Answers of a class vote together. If the embedder is down, equal texts vote
    together, and the answer is degraded (``embedder_unavailable``)."""

    type: Literal["semantic"]
    embedder: str
    """A name in ``embedders``."""
    threshold: Annotated[float, Field(gt=-1, le=1)]
    """Least cosine of equal answers. It depends on the embedder: measure the cosines of some
    answers that say the same and of some that do not, and take a value in between.
    ``bon.details.diversity`` shows how different answers are."""

    @property
    def by_meaning(self) -> ByMeaning:
        return ByMeaning(self.embedder, self.threshold)

    def build(self) -> FindAnswer:
        return lambda answer: folded(answer.text)


class ToolCallsSettings(ExtractSettings):
    """The names and arguments of all tool calls, whatever the order of calls and of keys. A
    candidate without a call, or with more than 65,536 characters of arguments, does not vote."""

    type: Literal["tool_calls"]

    def build(self) -> FindAnswer:
        return lambda answer: called(answer.calls)


EXTRACTS: tuple[type[ExtractSettings], ...] = (
    LastNumberSettings,
    BoxedSettings,
    JsonFieldSettings,
    RegexSettings,
    ExactSettings,
    ToolCallsSettings,
    SemanticSettings,
)
"""All that lists the ways is derived from this tuple: the settings, docs/settings.md, the chart's
schema."""
