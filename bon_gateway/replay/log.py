"""Reads the candidate log as the gateway writes it (``recording.entry``), line by line.

A pool for a study may add ``gold`` to candidates, the true worth of the answer, ``rewards``, what
other reward models say, by name, and ``prompt_tokens`` to the request; the gateway knows none of
them when it writes. ``partial_rewards`` it writes where ``pruning`` looked at a candidate before
its end. Other fields are not read.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from bon_common.settings.errors import SettingsError
from bon_gateway.recording.entry import VERSION
from bon_gateway.recording.files import CLOSED_SUFFIX, OPEN_SUFFIX, PREFIX
from bon_gateway.types import CandidateStatus

Count = Annotated[int, msgspec.Meta(ge=0)]


class RecordedCandidate(msgspec.Struct, frozen=True):
    index: Count
    status: CandidateStatus
    tokens: Count
    message: dict[str, Any] | None
    finish_reason: str | None = None
    reward: float | None = None
    logprob: float | None = None
    """Sum of the token log-probabilities, in nats."""
    gold: float | None = None
    variant: str | None = None
    """The variant of the policy that drew it."""
    rewards: dict[str, float] = {}
    """Of other reward models, by names of the writer's choice."""
    partial_rewards: tuple[tuple[Count, float], ...] = ()
    """Rewards of what it said at some numbers of tokens, ascending."""


class RecordedRequest(msgspec.Struct, frozen=True):
    """One line. ``model``, ``policy`` and ``reward`` are names in the settings that served it."""

    v: int
    model: str
    policy: str
    policy_revision: str | None
    reward: str | None
    messages: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(min_length=1)]
    candidates: tuple[RecordedCandidate, ...]
    sampling: dict[str, Any] = {}
    prompt_tokens: Count | None = None
    reward_compares: bool = False
    """Whether the reward only compares the candidates of one request."""


def begun(candidate: RecordedCandidate, tokens: int) -> dict[str, Any]:
    """What the candidate's message was after ``tokens`` tokens: as large a share of its text, since
    the log does not say where its tokens end."""
    message = candidate.message or {}
    text = message.get("content")
    if not isinstance(text, str):
        return message
    return {**message, "content": text[: len(text) * tokens // max(candidate.tokens, 1)]}


class PlacedRequest(msgspec.Struct, frozen=True):
    place: str
    """``file:line``."""
    request: RecordedRequest


def read_log(paths: Sequence[Path]) -> Iterator[PlacedRequest]:
    """Every request in the files, and in the folders' files, in order.

    Raises SettingsError for a file that cannot be read, and at a bad line, with its place.
    """
    for path in paths:
        for file in _files(path):
            for number, line in _lines(file):
                if line.strip():
                    place = f"{file}:{number}"
                    yield PlacedRequest(place, _request(line, place))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    suffixes = (OPEN_SUFFIX, CLOSED_SUFFIX)
    found = sorted(p for p in path.glob(f"{PREFIX}*") if p.name.endswith(suffixes))
    if not found:
        raise SettingsError(str(path), "", f"holds no file {PREFIX}*{OPEN_SUFFIX}")
    return found


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield from enumerate(file, 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SettingsError(str(path), "", f"cannot be unpacked: {error}") from None
    except OSError as error:
        raise SettingsError(str(path), "", f"cannot be read: {error.strerror}") from None


def _request(line: bytes, place: str) -> RecordedRequest:
    try:
        request = msgspec.json.decode(line, type=RecordedRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(place, "", f"is no line of the candidate log: {error}") from None
    if request.v != VERSION:
        raise SettingsError(place, "v", f"should be {VERSION}, not {request.v}")
    indices = [candidate.index for candidate in request.candidates]
    if len(set(indices)) < len(indices):
        raise SettingsError(place, "candidates", "two have the same index")
    return request
