"""The wire models of a chat request: what the gateway must understand, and nothing more.

Everything else in the body reaches the policy as it is. Wrong input raises a BadRequestError that
names the parameter. Numbers and flags are read as vLLM reads them (``4.0`` as an integer, ``"0.5"``
and ``"true"`` as text): a gateway that refused what the engine takes would break working clients.
Messages and tools may be many, so they are checked by hand, in ``messages`` and ``tools``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    SkipValidation,
    ValidationError,
    create_model,
)

from bon_gateway.api.tools import check_tool_choice, check_tools
from bon_gateway.errors import BadRequestError
from bon_gateway.strategies.registry import request_fields

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1


class Wire(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class MessageWire(Wire):
    """A message that ``messages.check_messages`` accepts."""

    role: str
    content: str | list[dict[str, Any] | str] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class StreamOptionsWire(Wire):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class FunctionWire(Wire):
    name: str
    parameters: dict[str, Any] | None = None


class ToolWire(Wire):
    type: str = "function"
    function: FunctionWire


class NamedFunctionWire(Wire):
    name: Annotated[str, Field(min_length=1)]


class NamedToolWire(Wire):
    type: str = "function"
    function: NamedFunctionWire


class JsonSchemaWire(Wire):
    name: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class ResponseFormatWire(Wire):
    type: str
    json_schema: JsonSchemaWire | None = None


class BonFields(BaseModel):
    """The gateway's own object in a request. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    strategy: str | None = None
    """None keeps the served model's own strategy."""
    return_candidates: bool = False
    """Whether the answer carries every candidate's message, not the winner's alone."""


if TYPE_CHECKING:
    BonWire = BonFields
else:
    # With the names of the strategies and their keys that a request may set.
    BonWire = create_model("BonWire", __base__=BonFields, **request_fields())


class ChatWire(Wire):
    """A chat completion request: OpenAI's, any parameter of vLLM's, and ``bon``."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[SkipValidation[list[MessageWire]], Field(json_schema_extra={"minItems": 1})]
    n: PositiveInt | None = None
    stream: bool | None = None
    stream_options: StreamOptionsWire | None = None
    seed: Annotated[int, Field(ge=INT64_MIN, le=INT64_MAX)] | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    logprobs: bool | None = None
    top_logprobs: NonNegativeInt | None = None
    prompt_logprobs: NonNegativeInt | None = None
    logprob_token_ids: SkipValidation[list[int] | None] = None
    tools: SkipValidation[list[ToolWire] | None] = None
    tool_choice: SkipValidation[Literal["none", "auto", "required"] | NamedToolWire | None] = None
    response_format: ResponseFormatWire | None = None
    structured_outputs: dict[str, Any] | None = None
    use_beam_search: bool | None = None
    continue_final_message: bool | None = None
    echo: bool | None = None
    include_reasoning: bool | None = None
    return_token_ids: bool | None = None
    metadata: dict[str, Any] | None = None
    bon: BonWire | None = None


NOT_SAMPLING = frozenset({"model", "messages", "n", "seed", "stream", "stream_options", "bon"})
"""Fields that the gateway acts on itself; all others are sampling parameters for the policy."""

READ_BY_GATEWAY = frozenset(
    {
        *("temperature", "top_p", "max_tokens", "max_completion_tokens", "use_beam_search"),
        *("logprobs", "top_logprobs", "prompt_logprobs", "return_token_ids"),
        *("continue_final_message", "echo", "include_reasoning"),
    }
)
"""Numbers and flags among the sampling parameters. If one came as text, or as a float for an
integer, the policy gets the value that was read from it."""


def parse_chat(body: Any) -> ChatWire:
    """Validate all of ``body`` but its messages. Raises BadRequestError for the first wrong
    parameter."""
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object")
    check_tools(body.get("tools"))
    check_tool_choice(body.get("tool_choice"))
    try:
        wire = ChatWire.model_validate(body)
    except ValidationError as error:
        raise _refusal(error) from None
    if body.get("stream_options") and not wire.stream:
        raise BadRequestError("stream_options needs stream: true", param="stream_options")
    if wire.use_beam_search:
        raise BadRequestError.at("use_beam_search", "must be false, candidates are samples")
    return wire


def _refusal(error: ValidationError) -> BadRequestError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = param_name(first["loc"])
    if first["type"] == "missing":
        return BadRequestError(
            f"missing required parameter: {param}", param=param, code="missing_parameter"
        )
    if first["type"] == "extra_forbidden":
        return BadRequestError(f"unknown parameter: {param}", param=param, code="unknown_parameter")
    message = first["msg"]
    return BadRequestError.at(param, message[:1].lower() + message[1:])


def param_name(loc: tuple[int | str, ...]) -> str:
    """``("tools", 0, "type")`` as ``tools[0].type``."""
    name = ""
    for part in loc:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part}" if name else part
    return name
