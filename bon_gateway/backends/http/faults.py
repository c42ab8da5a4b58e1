"""What an upstream's failures mean, whatever it serves.

No text of a prompt or an answer enters an error. The exception is a policy's refusal: it carries
the upstream's own words back to the client that sent the request.
"""

from __future__ import annotations

import math
import re
from dataclasses import KW_ONLY, dataclass
from enum import Enum, auto

import orjson

from bon_gateway.backends.http.connection import (
    ConnectError,
    HungUpError,
    TransportError,
    UnusableAnswerError,
)
from bon_gateway.errors import (
    EmbedderError,
    NoRewardError,
    NoUpstreamError,
    PolicyError,
    PolicyFailedError,
    PolicyOverloadedError,
    PolicyRefusedError,
    PolicyTimeoutError,
    PolicyUnreachableError,
    RewardError,
    RewardRefusedError,
)

# Long enough for any validation message, and a bound on what is passed on.
MAX_MESSAGE_CHARS = 2000
MAX_RETRY_AFTER_S = 3600.0

# These are about the way to the upstream and not about the client's request: proxy authentication,
# a wrong host, another protocol, and nginx's own (its client left, the wrong port for TLS).
_OURS = frozenset({407, 421, 426, 494, 495, 496, 497, 498, 499})


_ANSWER = re.compile(r"completions\[(\d{1,6})\]")
_PROMPT = re.compile(r"messages(\[\d{1,6}\](\.[a-z_]{1,40})?)?|tools")
_CODE = re.compile(r"[a-z_]{1,60}")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,60}")


class Fault(Enum):
    REFUSED = auto()
    OVERLOADED = auto()
    FAILED = auto()
    """It answered, but the answer is an error or cannot be used."""
    CUT = auto()
    """Its answer ended too soon, or is not HTTP."""
    UNREACHABLE = auto()
    TIMEOUT = auto()


@dataclass(eq=False)
class UpstreamError(Exception):
    """What went wrong at an upstream; backends turn it into a PolicyError or a RewardError."""

    kind: Fault
    message: str
    _: KW_ONLY
    status: int | None = None
    """Of its answer, if it answered other than 200."""
    param: str | None = None
    code: str | None = None
    retry_after: float | None = None
    dead: bool = False
    """The replica itself is gone: it need not be tried again until a probe has found it alive."""
    ours: bool = False
    """The call failed because this process lacks something. No replica is at fault."""
    none_up: bool = False
    """There was no replica to call."""

    def __str__(self) -> str:
        return self.message


def policy_error(error: UpstreamError) -> PolicyError:
    message = error.message
    match error.kind:
        case Fault.REFUSED:
            # The message is for the client alone; the code is logged too, so it must be a word.
            word = error.code if error.code and _WORD.fullmatch(error.code) else None
            return PolicyRefusedError(message, status=error.status, param=error.param, code=word)
        case Fault.OVERLOADED:
            return PolicyOverloadedError(message, retry_after=error.retry_after)
        case Fault.UNREACHABLE:
            kind = NoUpstreamError if error.none_up else PolicyUnreachableError
            return kind(message, retry_after=error.retry_after)
        case Fault.TIMEOUT:
            return PolicyTimeoutError(message)
        case Fault.FAILED | Fault.CUT:
            # An error status is about the whole request, not about one candidate's text.
            return PolicyFailedError(message, spoilt=error.status is None)


def embedder_error(error: UpstreamError) -> EmbedderError:
    # The words of a refusal may quote the text.
    reason = f"It refused the answers ({error.status})."
    told = reason if error.kind is Fault.REFUSED else error.message
    return EmbedderError(f"The embedder cannot embed: {told}", retry_after=error.retry_after)


def reward_error(error: UpstreamError) -> RewardError:
    """The RewardError to raise. If it is retryable, another replica may be asked too."""
    if error.kind is Fault.REFUSED:
        return reward_refusal(error.status or 400, error.param, error.code)
    message = f"The reward model cannot score: {error.message}"
    if error.kind is Fault.OVERLOADED:
        return RewardError(message, code="reward_overloaded", retry_after=error.retry_after)
    # A wrong key or a wrong address is wrong for every answer.
    useless = error.none_up or (error.status is not None and 400 <= error.status < 500)
    kind = NoRewardError if useless else RewardError
    return kind(message, retry_after=error.retry_after)


def reward_refusal(status: int, param: str | None, code: str | None) -> RewardRefusedError:
    """A refusal in the gateway's own words: a reward model's words may quote the conversation, and
    its ``param`` may be a name that a client made up.

    The reward server names what it cannot read by its place in ``items[0]``.
    """
    place = (param or "").removeprefix("items[0].")
    named = _ANSWER.match(place)
    what = "the answer is" if named else "the conversation is"
    known = f" {code}" if code and _CODE.fullmatch(code) else ""
    return RewardRefusedError(
        f"The reward model cannot score: {what} refused ({status}{known})",
        param=place if _PROMPT.fullmatch(place) else None,
        answer=int(named[1]) if named else None,
        too_many=status == 413 or code in ("too_many_sequences", "too_many_tokens"),
    )


def malformed(what: str, status: int | None = None) -> UpstreamError:
    return UpstreamError(Fault.FAILED, f"The upstream failed: {what}.", status=status)


def cut_off(what: str) -> UpstreamError:
    return UpstreamError(Fault.CUT, f"The upstream failed: {what}.")


def transport_error(error: TransportError | TimeoutError) -> UpstreamError:
    """What a failed exchange means. Only a refused connection shows that the replica is dead. A
    timeout, or a missing file descriptor in this process, does not."""
    match error:
        case TimeoutError():
            return UpstreamError(Fault.TIMEOUT, "The upstream took too long.")
        case ConnectError():
            return UpstreamError(
                Fault.UNREACHABLE,
                f"No connection to the upstream ({error}).",
                dead=error.refused,
                ours=error.ours,
            )
        case HungUpError():
            return UpstreamError(Fault.UNREACHABLE, "The upstream hung up.")
        case UnusableAnswerError():
            return malformed(f"its answer cannot be used: {error}")
    return cut_off(f"its answer was cut off or broken ({error})")


def status_error(status: int, payload: bytes, retry_after: str | None) -> UpstreamError:
    """What an answer other than 200 means.

    401, 403, 404, 405 and a few others are about the gateway's own key, address or model name.
    They are failures of the gateway's side and not refusals of the client's request.
    """
    if status in (408, 429, 503):
        return UpstreamError(
            Fault.OVERLOADED,
            f"The upstream is overloaded ({status}).",
            status=status,
            retry_after=_seconds(retry_after),
        )
    if status == 504:
        # A proxy on the way says it, with less patience than the gateway. Asking again would take
        # as long, and the engine would do the same work twice.
        return UpstreamError(Fault.TIMEOUT, "The upstream took too long (504).", status=status)
    if status in (401, 403):
        return malformed(f"it refused the gateway's key ({status})", status)
    if status in (404, 405):
        return malformed(f"it has no such model or path ({status})", status)
    if status in _OURS:
        return malformed(f"it cannot be reached in this way ({status})", status)
    if 400 <= status < 500:
        message, param, code = _error_fields(payload)
        return UpstreamError(
            Fault.REFUSED,
            message or f"The upstream refused the request ({status}).",
            status=status,
            param=param,
            code=code,
        )
    dead = b"EngineCore" in payload or b"EngineDead" in payload
    return UpstreamError(
        Fault.FAILED,
        "The upstream's engine is dead." if dead else f"The upstream answered {status}.",
        status=status,
        dead=dead,
    )


def _error_fields(payload: bytes) -> tuple[str | None, str | None, str | None]:
    """Message, param and code of OpenAI's error object, or of a similar one."""
    try:
        error = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None, None, None
    if isinstance(error, dict):
        if "error" not in error and "detail" in error:
            return _detail(error["detail"])
        error = error.get("error", error)
    if isinstance(error, str):
        return error[:MAX_MESSAGE_CHARS], None, None
    if not isinstance(error, dict):
        return None, None, None
    message, param, code = (error.get(name) for name in ("message", "param", "code"))
    return (
        str(message)[:MAX_MESSAGE_CHARS] if message else None,
        str(param) if param else None,
        None if code is None else str(code),
    )


def _detail(detail: object) -> tuple[str | None, str | None, str | None]:
    """The same from FastAPI's own form: a text, or a list of errors with their places."""
    if isinstance(detail, str):
        return detail[:MAX_MESSAGE_CHARS] or None, None, None
    if not isinstance(detail, list):
        return None, None, None
    faults = [fault for fault in detail if isinstance(fault, dict) and fault.get("msg")]
    places = [_place(fault.get("loc")) for fault in faults]
    lines = [
        f"{place}: {fault['msg']}" if place else str(fault["msg"])
        for place, fault in zip(places, faults, strict=True)
    ]
    return "; ".join(lines)[:MAX_MESSAGE_CHARS] or None, places[0] if places else None, None


def _place(loc: object) -> str | None:
    """``["body", "messages", 0]`` as ``messages.0``."""
    parts = [str(part) for part in loc] if isinstance(loc, list) else []
    return ".".join(parts[1:] if parts[:1] == ["body"] else parts) or None


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds, at most an hour. Its date form is not read."""
    try:
        seconds = float(retry_after) if retry_after else math.nan
    except ValueError:
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S) if math.isfinite(seconds) else None
