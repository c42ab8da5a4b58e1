"""The wire models of ``POST /v1/score``: the reward server's, and one key more.

A client of the reward server is a client of the gateway. Wrong input raises a BadRequestError that
names the place in the body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from bon_common.messages import content_text
from bon_gateway.api.messages import check_conversation, check_message
from bon_gateway.api.tools import check_tools
from bon_gateway.errors import BadRequestError
from bon_gateway.judging import JudgeUsage
from bon_gateway.sections.server import LimitsSettings
from bon_gateway.strategies.parts import readable
from bon_gateway.types import Message, NonTextParts
from reward_server.schema import ScoreItem, ScoreRequest, ScoreTimings

Missing = Literal["fail", "null"]
_FIELD = re.compile(r"(?:unknown|required) field `([^`]*)`")


class ScoreAsked(ScoreRequest, frozen=True, kw_only=True):
    """Body of `POST /v1/score`."""

    missing: Missing = "fail"
    """What to do if an answer gets no reward, because a judge abstained or the reward model refused
    to read it: fail the call, or make the answer's reward null."""


class RewardsOfItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry for each completion in every list, in the order given."""

    rewards: list[float | None]
    """Raw numbers; higher is better. Null only with `missing: null`."""
    tokens: list[int]
    """Number of tokens read, prompt included; 0 if the reward does not say."""
    truncated: list[bool]
    """True if a reward server cut the start of the prompt to fit."""
    labels: dict[str, list[float]] = {}
    """For an ensemble, the raw rewards of each member that gave one for every completion; for a
    reward model with several labels, each label's numbers."""
    left_out: list[str] = []
    """Members of an ensemble that could not score."""
    reasons: dict[str, str] = {}
    """Why rewards are null: the code of the error, by the completion's index."""


class ScoringUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Cost of the call; equal completions of an item are computed once."""

    sequences: int
    tokens: int
    judge: JudgeUsage | None = None
    """Cost of verdicts from chat models."""


class ScoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `POST /v1/score`; `results` follows the order of `items`."""

    model: str
    results: list[RewardsOfItem]
    usage: ScoringUsage
    timings_ms: ScoreTimings


class ReadItem(msgspec.Struct, frozen=True):
    """One conversation with its answers, as a reward model reads them."""

    messages: Sequence[Message]
    answers: Sequence[Message]
    tools: Sequence[Mapping[str, Any]] | None
    metadata: Mapping[str, Any]


def parse_score(body: Any, limits: LimitsSettings) -> ScoreAsked:
    """Raises BadRequestError for the first invalid part."""
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object")
    try:
        asked = msgspec.convert(body, ScoreAsked)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    if asked.on_overflow is not None:
        raise BadRequestError.at(
            "on_overflow", "is decided by the reward server behind the gateway, not by a request"
        )
    if not asked.items:
        raise BadRequestError.at("items", "must hold at least one item")
    for position, item in enumerate(asked.items):
        _check_item(item, f"items[{position}]", limits)
    answers = sum(len(item.completions) for item in asked.items)
    if answers > limits.max_candidates:
        # Not a 429: a retry cannot help here.
        raise BadRequestError.at(
            "items", f"{answers} completions are above the limit of {limits.max_candidates}"
        )
    return asked


def _check_item(item: ScoreItem, where: str, limits: LimitsSettings) -> None:
    check_conversation(item.messages, f"{where}.messages", limits.max_messages)
    check_tools(item.tools, f"{where}.tools")
    if item.tools is not None and len(item.tools) > limits.max_tools:
        raise BadRequestError.at(
            f"{where}.tools", f"{len(item.tools)} are above the limit of {limits.max_tools}"
        )
    if not item.completions:
        raise BadRequestError.at(f"{where}.completions", "must hold at least one answer")
    for position, completion in enumerate(item.completions):
        if not isinstance(completion, str):
            place = f"{where}.completions[{position}]"
            check_message({"role": "assistant", **completion}, place)
            if completion.get("role", "assistant") != "assistant":
                raise BadRequestError.at(f"{place}.role", "must be assistant")


def read_item(item: ScoreItem, where: str, setting: NonTextParts) -> ReadItem:
    """An item in the form for the reward model; ``where`` is its place in the body. Raises
    BadRequestError for a part that is not text, if ``setting`` is ``refuse``."""
    said = [_message(completion) for completion in item.completions]
    # A policy's answers are text, so no reward model expects other parts in an answer.
    of_answers: NonTextParts = "refuse" if setting == "send" else setting
    return ReadItem(
        readable(item.messages, setting, f"{where}.messages"),
        [_answer(message) for message in readable(said, of_answers, f"{where}.completions")],
        item.tools,
        item.metadata or {},
    )


def _message(completion: str | Mapping[str, Any]) -> Message:
    if isinstance(completion, str):
        return {"role": "assistant", "content": completion}
    return {**completion, "role": "assistant"}


def _answer(message: Message) -> Message:
    """As with a candidate, text and tool calls are judged, and reasoning is not."""
    content = message.get("content")
    text = content if isinstance(content, str) else content_text(content)
    calls = message.get("tool_calls")
    return {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}


def _refusal(problem: str) -> BadRequestError:
    """The error for msgspec's message about the body."""
    reason, _, path = problem.partition(" - at `$")
    param = path.rstrip("`").lstrip(".")
    field = _FIELD.search(reason)
    if field is not None:
        param = f"{param}.{field[1]}".lstrip(".")
    unknown, missing = "unknown field" in reason, "required field" in reason
    code = "unknown_parameter" if unknown else "missing_parameter" if missing else None
    reason = "is not known" if unknown else "is required" if missing else reason
    message = ": ".join(filter(None, (param, reason)))
    return BadRequestError(message, param=param or None, code=code)
