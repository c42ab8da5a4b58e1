"""Whether a completion is what the client asked for.

A policy under a token limit, or with a tool parser that guesses, returns answers that no reward
model should choose: nothing at all, JSON that does not parse, tool arguments that violate their
schema. Whatever an upstream put into one message, it cannot spoil the judgement of another. The
``schemas`` package bounds how long a schema may take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from bon_gateway.schemas.checks import Fit, Schema, SchemaChecks
from bon_gateway.strategies.parts import said
from bon_gateway.strategies.prefill import Prefill
from bon_gateway.thinking import ThinkingSettings, after_thinking
from bon_gateway.types import EMPTY, CandidateStatus, Completion, Message, Tier

NO_ARGUMENTS = "{}"
MALFORMED = "malformed"

BLANK, MISPLACED, UNCHECKED = "blank", "reasoning_only", "unchecked"
"""Remarks about candidates that may still win: only white space; the whole answer in the reasoning;
a schema that took too long to check."""


class Validity(msgspec.Struct, frozen=True):
    status: CandidateStatus
    reason: str | None = None
    tier: Tier = Tier.ANSWER


class SchemaQuestion(msgspec.Struct, frozen=True):
    """Whether ``text`` fits ``schema``: a question that only the checking process may answer."""

    schema: Schema
    text: str
    fault: str
    """The candidate's reason if it does not fit."""


FINISHED = Validity(CandidateStatus.FINISHED)


class _InvalidError(Exception):
    """The answer is invalid, for the reason that is its only argument."""


class AnswerCheck(msgspec.Struct, frozen=True):
    """What a request demands of an answer's form."""

    passthrough: bool = False
    thinking: ThinkingSettings | None = None
    prefill: Prefill | None = None
    json_wanted: bool = False
    object_wanted: bool = False
    schema: Schema | None = None
    tools: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Each tool's parameters: a JSON schema, or whatever the client sent."""
    checks: SchemaChecks | None = None
    tool_wanted: bool = False
    named_tool: str | None = None
    _tool_schemas: dict[str, Schema] = msgspec.field(default_factory=dict)
    """Schemas of the tools that were called, compiled at the first call."""

    @classmethod
    def anything(cls) -> AnswerCheck:
        """A check that takes every completion as it is."""
        return cls(passthrough=True)

    def judge(self, completion: Completion) -> Validity | Sequence[SchemaQuestion]:
        """The verdict, or the questions that ``answer`` must ask first."""
        if self.passthrough or (self._takes_any_text and _is_text(completion)):
            return FINISHED
        try:
            return self._judge(completion.message, completion.finish_reason)
        except _InvalidError as error:
            return Validity(CandidateStatus.INVALID, str(error))

    async def answer(self, questions: Sequence[SchemaQuestion]) -> Validity:
        """The verdict if ``judge`` returned questions."""
        reason = None
        for question in questions:
            fit = await question.schema.ask(question.text)
            if fit is Fit.NO:
                return Validity(CandidateStatus.INVALID, question.fault)
            if fit is Fit.UNKNOWN:
                reason = UNCHECKED
        return Validity(CandidateStatus.FINISHED, reason)

    @property
    def _takes_any_text(self) -> bool:
        """Whether any text is a valid answer."""
        if self.json_wanted or self.tool_wanted:
            return False
        return self.thinking is None and self.prefill is None

    def _judge(self, message: Message, finish_reason: str) -> Validity | Sequence[SchemaQuestion]:
        content = _text(message, "content")
        refusal = _text(message, "refusal") or said(message)
        calls = _calls(message)
        if self.prefill is not None:
            # The client wrote the beginning itself: only the rest is the candidate's answer.
            content = self.prefill.added(content)
        answer = self._answer(content)
        visible = bool(calls or refusal or (answer or "").strip())
        if finish_reason == "length" or (answer is None and not visible):
            # A cut answer is usable whatever is left of it, even if it was cut before a word.
            tier = Tier.ANSWER if visible else Tier.NO_ANSWER
            return Validity(CandidateStatus.TRUNCATED, None, tier)
        if not visible and not content and _has_reasoning(message):
            return Validity(CandidateStatus.FINISHED, MISPLACED, Tier.MISPLACED)
        if calls:
            return self._calls_questions(calls) or FINISHED
        if self.tool_wanted:
            raise _InvalidError("no_tool_call")
        if refusal:
            return FINISHED
        if self.json_wanted:
            return self._json_questions(answer or "") or FINISHED
        if visible:
            return FINISHED
        if not answer:
            raise _InvalidError(EMPTY)
        return Validity(CandidateStatus.FINISHED, BLANK, Tier.NO_ANSWER)

    def _answer(self, content: str) -> str | None:
        """The part of ``content`` after the thinking; None if the thinking has not ended. The
        client may have begun the thinking in its prefill."""
        if self.thinking is None:
            return content
        begun = "" if self.prefill is None else self.prefill.text
        if after_thinking(begun, self.thinking) is None:
            content = self.thinking.start + content
        return after_thinking(content, self.thinking)

    def _calls_questions(self, calls: Sequence[Mapping[str, Any]]) -> list[SchemaQuestion]:
        questions = []
        for call in calls:
            function = call["function"]
            name, arguments = function["name"], function["arguments"]
            if self.tools and name not in self.tools:
                raise _InvalidError("unknown_tool")
            if self.named_tool is not None and name != self.named_tool:
                raise _InvalidError("other_tool")
            value = _parsed(arguments or NO_ARGUMENTS, "tool_arguments_not_json")
            fault = "tool_arguments_violate_schema"
            if not arguments and _requires(self.tools.get(name)):
                # Some parsers lose the arguments. Empty ones are then not what the model said.
                raise _InvalidError(fault)
            schema = self._tool_schema(name)
            if schema is not None:
                questions += _asked(schema, arguments or NO_ARGUMENTS, value, fault)
        return questions

    def _tool_schema(self, name: str) -> Schema | None:
        raw = self.tools.get(name)
        if raw is None or self.checks is None:
            return None
        if name not in self._tool_schemas:
            self._tool_schemas[name] = self.checks.schema(raw)
        return self._tool_schemas[name]

    def _json_questions(self, answer: str) -> list[SchemaQuestion]:
        value = _parsed(answer, "not_json")
        if self.object_wanted and not isinstance(value, dict):
            raise _InvalidError("not_json_object")
        if self.schema is None:
            return []
        return _asked(self.schema, answer, value, "violates_schema")


def _is_text(completion: Completion) -> bool:
    """Whether it is like most completions: a text that has ended, and nothing else. A short cut:
    ``_judge`` comes to the same verdict, at several times the cost."""
    message = completion.message
    content = message.get("content")
    return (
        isinstance(content, str)
        and content != ""
        and not content.isspace()
        and message.get("refusal") is None
        and not message.get("tool_calls")
        and completion.finish_reason != "length"
    )


def _asked(schema: Schema, text: str, value: Any, fault: str) -> list[SchemaQuestion]:
    fits = schema.fits(text, value)
    if fits is None:
        return [SchemaQuestion(schema, text, fault)]
    if not fits:
        raise _InvalidError(fault)
    return []


def _parsed(text: str, fault: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _InvalidError(fault) from None


def _text(message: Message, name: str) -> str:
    text = message.get(name)
    if text is None or isinstance(text, str):
        return text or ""
    raise _InvalidError(MALFORMED)


def _calls(message: Message) -> Sequence[Mapping[str, Any]]:
    """The tool calls, each with a function whose name and arguments are text."""
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, list | tuple):
        raise _InvalidError(MALFORMED)
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not (
            isinstance(function, Mapping)
            and isinstance(function.get("name"), str)
            and isinstance(function.get("arguments"), str)
        ):
            raise _InvalidError(MALFORMED)
    return calls


def _has_reasoning(message: Message) -> bool:
    return bool(message.get("reasoning") or message.get("reasoning_content"))


def _requires(parameters: Any) -> bool:
    """Whether the tool's schema requires arguments."""
    required = parameters.get("required") if isinstance(parameters, Mapping) else None
    return isinstance(required, list) and bool(required)
