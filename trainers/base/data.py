"""The records of the trainers, read and written; a bad line is named by file, line and reason."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import TypedDict

from trainers.base.errors import DataError
from trainers.base.lines import read_rows


class Message(TypedDict):
    """One chat turn, as the chat template takes it."""

    role: str
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]


Messages = Annotated[list[Message], Field(min_length=1)]


class Record(BaseModel):
    """Base of all records; fields that a trainer does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Demonstration(Record):
    """A conversation to imitate; its last turn is the assistant's."""

    messages: Messages

    @model_validator(mode="after")
    def _ends_with_the_assistant(self) -> "Demonstration":
        if self.messages[-1]["role"] != "assistant":
            raise ValueError("the last message must be the assistant's")
        return self


class PromptRecord(Record):
    """What to sample an answer for."""

    prompt: Messages


class Pair(Record):
    """Two answers to one prompt, the preferred one first."""

    prompt: Messages
    chosen: Messages
    rejected: Messages
    margin: float | None = None
    """By how much chosen is better, where that is known."""

    @model_validator(mode="after")
    def _answers_differ(self) -> "Pair":
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are equal")
        return self


RecordT = TypeVar("RecordT", bound=Record)


def read_records(kind: type[RecordT], path: Path) -> list[RecordT]:
    """The records of `read_placed` alone."""
    return [record for _, record in read_placed(kind, path)]


def read_placed(kind: type[RecordT], path: Path) -> list[tuple[str, RecordT]]:
    """All records of a JSONL, gzipped JSONL or parquet file, each with its `file:line`.

    Blank lines are skipped but counted. Raises DataError with file, line and reason at the first
    bad line, and for a file that cannot be read or has no record.
    """
    records = []
    for row in read_rows(path):
        if row.values is None:
            raise DataError(f"{row.where}: {row.reason}")
        try:
            records.append((row.where, kind.model_validate(row.values)))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            raise DataError(": ".join(filter(None, (row.where, field, reason)))) from error
    if not records:
        raise DataError(f"{path}: the file has no records")
    return records


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, making the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as out:
        for record in records:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")


def data_hash(path: Path) -> str:
    """SHA-256 of the file's bytes, read piece by piece; DataError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
