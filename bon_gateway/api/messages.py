"""The messages of a chat request, checked by hand.

For a long conversation pydantic would block the event loop many times as long. The chat template
judges all fields but the role, the content and the tool calls. Shapes for which vLLM would answer
500, such as tool calls that are not a list, are refused here.
"""

from __future__ import annotations

from typing import Any

from bon_gateway.errors import BadRequestError

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def check_messages(body: Any, limit: int) -> None:
    """Raises BadRequestError if ``body`` has no messages, more than ``limit``, or broken ones."""
    if not isinstance(body, dict) or "messages" not in body:
        # ``parse_chat`` names what is missing.
        return
    check_conversation(body["messages"], "messages", limit)


def check_conversation(messages: Any, where: str, limit: int) -> None:
    """Raises BadRequestError unless this is a list of 1 to ``limit`` messages; ``where`` is its
    place in the body."""
    if not isinstance(messages, list):
        raise _wrong(where, "a list", messages)
    if not messages:
        raise BadRequestError.at(where, "must hold at least one message")
    if len(messages) > limit:
        raise BadRequestError.at(where, f"{len(messages)} are above the limit of {limit}")
    for position, message in enumerate(messages):
        check_message(message, f"{where}[{position}]")


def check_message(message: Any, where: str) -> None:
    """Raises BadRequestError for a message whose role, content or tool calls have a wrong shape."""
    if not isinstance(message, dict):
        raise _wrong(where, "an object", message)
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls")
    if not isinstance(role, str):
        if "role" not in message:
            param = f"{where}.role"
            raise BadRequestError(
                f"missing required parameter: {param}", param=param, code="missing_parameter"
            )
        raise _wrong(f"{where}.role", "text", role)
    if isinstance(content, list):
        for position, part in enumerate(content):
            if not isinstance(part, dict | str):
                raise _wrong(f"{where}.content[{position}]", "an object or text", part)
    elif content is not None and not isinstance(content, str):
        raise _wrong(f"{where}.content", "text, a list of parts or null", content)
    if calls is not None and not (
        isinstance(calls, list) and all(isinstance(call, dict) for call in calls)
    ):
        raise BadRequestError.at(f"{where}.tool_calls", "must be a list of objects")


def _wrong(param: str, wanted: str, got: Any) -> BadRequestError:
    return BadRequestError.at(param, f"must be {wanted}, not {_KINDS[type(got)]}")
