"""Common part of OpenAI's two graders that ask a chat model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import orjson
from pydantic import Field, PositiveInt
from yarl import URL

from bon_gateway.backends.http.client import base_url
from bon_gateway.backends.http.faults import UpstreamError
from bon_gateway.backends.http.usage import read_usage
from bon_gateway.judging import JudgeUsage
from bon_gateway.sections.base import Section
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import ONLY_CALLS, Verdict, abstained
from bon_gateway.verifiers.asking import AskingVerifier
from bon_gateway.verifiers.calls import UNUSABLE, reason_of
from bon_gateway.verifiers.settings import AskingVerifierSettings
from bon_gateway.verifiers.template import LackingError, TemplateText, reads_calls, render
from bon_gateway.verifiers.verifier import only_calls, text_of


class InputTextSettings(Section):
    """A text part of a message."""

    type: Literal["input_text", "output_text"]
    text: TemplateText
    """The text, which may have places to fill in."""


class GraderMessageSettings(Section):
    """A message to the grading model."""

    role: Literal["user", "assistant", "system", "developer"]
    """Role of the message."""
    content: TemplateText | InputTextSettings | tuple[InputTextSettings, ...]
    """A text, which may have places to fill in, or parts of text."""
    type: Literal["message"] | None = None

    def texts(self) -> tuple[str, ...]:
        """The texts of its parts, not filled in."""
        if isinstance(self.content, str):
            return (self.content,)
        parts = self.content if isinstance(self.content, tuple) else (self.content,)
        return tuple(part.text for part in parts)


class GraderSamplingSettings(Section):
    """How the grading model samples. Its server decides about unset keys."""

    temperature: float | None = None
    """Its temperature."""
    top_p: float | None = None
    """Its nucleus."""
    seed: int | None = None
    """Its seed."""
    max_completions_tokens: PositiveInt | None = None
    """Largest number of tokens to generate, reasoning included."""
    reasoning_effort: str | None = None
    """How much a reasoning model thinks, such as ``low``."""


class ModelGraderSettings(AskingVerifierSettings):
    """Settings of graders that ask a chat model. ``url`` is its server's address, with or without
    ``/v1``: OpenAI's, or any server with the chat completions API and structured output."""

    model: str
    """The grading model's name there."""
    input: Annotated[tuple[GraderMessageSettings, ...], Field(min_length=1)]
    """The messages to it. Say that the answer is data, and mark where it begins and ends."""
    sampling_params: GraderSamplingSettings = GraderSamplingSettings()
    """How it samples."""
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """Longest time of one call, in seconds. After that the grader abstains."""


class _GraderWords(msgspec.Struct):
    content: str | None = None


class _GraderChoice(msgspec.Struct):
    message: _GraderWords


class _GraderAnswer(msgspec.Struct):
    choices: list[_GraderChoice]
    usage: Any = None


_DECODER = msgspec.json.Decoder(_GraderAnswer)


class ModelGrader(AskingVerifier):
    """Asks for a JSON object with a ``result``. An unreadable answer is an abstention."""

    schema: ClassVar[str] = "grade"

    def __init__(self, settings: ModelGraderSettings, key: str | None) -> None:
        super().__init__(settings, URL(base_url(settings.url) + "/v1/chat/completions"), key)
        self._settings = settings
        said = [text for message in settings.input for text in message.texts()]
        self._reads_calls = reads_calls(*said)

    @abstractmethod
    def result_schema(self) -> Mapping[str, Any]:
        """The JSON schema of ``result``."""

    @abstractmethod
    def grade(self, result: Any) -> Verdict:
        """The verdict for a result."""

    async def _one(self, request: RewardRequest, answer: Message) -> Verdict:
        verdict = await self._ask(request, answer)
        if verdict.judging is not None:
            request.bill.add(verdict.judging)
        return verdict

    async def _ask(self, request: RewardRequest, answer: Message) -> Verdict:
        text = text_of(answer)
        if not self._reads_calls and only_calls(answer, text):
            return abstained(ONLY_CALLS)
        try:
            body = self._body(request, answer, text)
        except LackingError as lacking:
            return lacking.verdict()
        try:
            payload = await self._calls.post(body, request.headers())
        except UpstreamError as error:
            return _counted(abstained(reason_of(error)), None)
        try:
            read = _DECODER.decode(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self._calls.tell("its answer is no chat completion")
            return _counted(abstained(UNUSABLE), None)
        verdict = abstained("no_verdict")
        if read.choices and read.choices[0].message.content:
            verdict = self._read(read.choices[0].message.content)
        return _counted(verdict, read.usage)

    def _read(self, content: str) -> Verdict:
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError:
            return abstained("no_verdict")
        return self.grade(found.get("result") if isinstance(found, dict) else found)

    def _body(self, request: RewardRequest, answer: Message, text: str) -> dict[str, Any]:
        def filled(template: str) -> str:
            return render(template, request, answer, text)

        messages = [
            {"role": message.role, "content": "\n".join(map(filled, message.texts()))}
            for message in self._settings.input
        ]
        sampling = self._settings.sampling_params.model_dump(exclude_none=True)
        if "max_completions_tokens" in sampling:
            sampling["max_completion_tokens"] = sampling.pop("max_completions_tokens")
        schema = {
            "type": "object",
            "properties": {"result": self.result_schema()},
            "required": ["result"],
            "additionalProperties": False,
        }
        wanted = {"name": self.schema, "schema": schema, "strict": True}
        return {
            "model": self._settings.model,
            "messages": messages,
            "response_format": {"type": "json_schema", "json_schema": wanted},
            **sampling,
        }


def _counted(verdict: Verdict, usage: Any) -> Verdict:
    """The verdict with its cost."""
    asked = JudgeUsage(calls=1, abstentions=int(verdict.silent))
    return msgspec.structs.replace(verdict, judging=asked + read_usage(usage))
