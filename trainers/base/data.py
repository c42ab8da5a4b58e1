"""The records of the trainers, read and written; a bad line is named by file, line and reason."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, NotRequired, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from typing_extensions import TypedDict

from trainers.base.bad_lines import BadLines
from trainers.base.errors import DataError
from trainers.base.lines import BadLineError, printable, read_rows
from trainers.base.metadata import METADATA, read_metadata
from trainers.base.prompt_text import HISTORY, MEDIA_KEYS, SYSTEM_KEYS, messages_of
from trainers.base.raw import RawRecord
from trainers.base.template_inputs import INPUT_KEYS, NO_INPUTS, TemplateInputs, read_inputs
from trainers.base.turns import tidied, tidied_turns


class Message(TypedDict):
    """One chat turn, as the chat template takes it."""

    role: str
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    """Of a tool's result: the call that it answers."""
    name: NotRequired[str]
    reasoning_content: NotRequired[str]
    """What the assistant thought before it answered. Policies learn it, reward models never see
    it."""


@dataclass(frozen=True)
class Conversation:
    """Messages, whether they ask for an answer or end with one, with all that a chat template reads
    beside them, and with what verifiers read."""

    messages: list[Message]
    inputs: TemplateInputs = NO_INPUTS
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """For verifiers, such as the expected answer. No chat template reads it."""

    def answered(self, answer: Sequence[Message]) -> "Conversation":
        """The conversation with these messages at its end."""
        return replace(self, messages=[*self.messages, *answer])

    def said(self, text: str) -> "Conversation":
        """The conversation with the assistant's answer of this text."""
        return self.answered([Message(role="assistant", content=text)])

    def first(self, count: int) -> "Conversation":
        """The conversation as it was after so many messages."""
        return replace(self, messages=self.messages[:count])

    def as_json(self) -> dict[str, Any]:
        """A `{prompt}` record."""
        metadata = {METADATA: dict(self.metadata)} if self.metadata else {}
        return {"prompt": self.messages, **self.inputs.as_json(), **metadata}

    @property
    def key(self) -> str:
        """A text that is equal for conversations with equal messages and inputs, whatever their
        metadata."""
        parts = {"prompt": self.messages, **self.inputs.as_json()}
        return json.dumps(parts if self.inputs != NO_INPUTS else self.messages, sort_keys=True)


Turn = Annotated[Message, BeforeValidator(tidied)]
Messages = Annotated[list[Turn], Field(min_length=1), BeforeValidator(tidied_turns)]


Prompt = Annotated[Messages, BeforeValidator(messages_of)]
"""Messages, or a text that stands for the user's."""


class Record(BaseModel):
    """Base of all records. Fields that a trainer does not know are ignored and counted; those that
    are part of a prompt are refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stand_ins: ClassVar[Mapping[str, str]] = {}
    """Fields that are read where the other one is missing."""

    @classmethod
    def known(cls) -> frozenset[str]:
        """The fields that are read."""
        names = set(cls.model_fields)
        for one in cls.model_fields.values():
            if isinstance(one.validation_alias, AliasChoices):
                names.update(str(name) for name in one.validation_alias.choices)
        return frozenset(names)


class ChatRecord(Record):
    """Base of the records with a conversation."""

    inputs: TemplateInputs = NO_INPUTS
    """From the record's `tools` and `chat_template_kwargs`."""

    @classmethod
    def known(cls) -> frozenset[str]:
        return super().known() | INPUT_KEYS

    @model_validator(mode="before")
    @classmethod
    def _with_inputs(cls, values: Any) -> Any:
        return {**values, "inputs": read_inputs(values)} if isinstance(values, dict) else values


class PromptedRecord(ChatRecord):
    """Base of the records with a prompt."""

    prompt: Prompt

    @property
    def asked(self) -> Conversation:
        """The prompt with what stands beside it."""
        return Conversation(self.prompt, self.inputs)


class VerifiableRecord(PromptedRecord):
    """Base of the records whose answers get rewards, which a verifier may give."""

    metadata: Annotated[dict[str, Any], BeforeValidator(read_metadata)] = Field(
        default_factory=dict
    )
    """An object; anything else under this name is not read."""

    @property
    def asked(self) -> Conversation:
        return replace(super().asked, metadata=self.metadata)


class Demonstration(ChatRecord):
    """A conversation to imitate; its last turn is the assistant's."""

    messages: Messages

    @model_validator(mode="after")
    def _ends_with_the_assistant(self) -> "Demonstration":
        if self.messages[-1]["role"] != "assistant":
            raise ValueError("the last message must be the assistant's")
        return self

    @property
    def shown(self) -> Conversation:
        """The messages with what stands beside them."""
        return Conversation(self.messages, self.inputs)


class PromptRecord(VerifiableRecord):
    """What to sample an answer for: `prompt`, or without one `messages`, as `collect` does."""

    stand_ins: ClassVar[Mapping[str, str]] = {"messages": "prompt"}

    @model_validator(mode="before")
    @classmethod
    def _from_messages(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("prompt") or "messages" not in values:
            return values
        messages = values["messages"]
        answered = isinstance(messages, list) and messages and isinstance(messages[-1], dict)
        if answered and messages[-1].get("role") == "assistant":
            messages = messages[:-1]
        return {**values, "prompt": messages}


class Pair(PromptedRecord):
    """Two answers to one prompt, the preferred one first."""

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


def read_placed(
    kind: type[RecordT], path: Path, bad: BadLines | None = None
) -> list[tuple[str, RecordT]]:
    """All records of a JSONL, gzipped JSONL or parquet file, each with its `file:line`.

    Blank lines are skipped but counted. Raises DataError with file, line and reason at the first
    bad line, unless `bad` counts them, and for a file that cannot be read or has no record.
    """
    bad = bad or BadLines()
    records = []
    for row in read_rows(path):
        with bad.tried():
            record, unread = _record(kind, row), _unread(kind, row)
            records.append((row.where, record))
            bad.not_read(unread)
    if not records:
        raise DataError(f"{path}: the file has no records")
    return records


def _record(kind: type[RecordT], row: RawRecord) -> RecordT:
    if row.values is None:
        raise DataError(f"{row.where}: {row.reason}")
    try:
        return kind.model_validate(row.values)
    except ValidationError as error:
        raise DataError(f"{row.where}: {_reason(error)}") from error


def _unread(kind: type[Record], row: RawRecord) -> list[str]:
    """The fields that hold something and are not read; DataError for one that belongs to a
    prompt, without which the answer answers another question."""
    assert row.values is not None
    found = {key: value for key, value in row.values.items() if value not in (None, "", [], {})}
    known = kind.known() | {name for name, other in kind.stand_ins.items() if other not in found}
    names = [
        name
        for name, value in found.items()
        if name not in known or (name == METADATA and not read_metadata(value))
    ]
    own = known - INPUT_KEYS - {METADATA}
    lost = {one for name in found if name in own for one in _lost(found[name], name)}
    for name in names:
        if name in MEDIA_KEYS:
            raise DataError(f"{row.where}: {name}: only text can be learnt from")
        if name in (*SYSTEM_KEYS, HISTORY):
            raise DataError(
                f"{row.where}: {name}: part of the prompt; bon-train prepare puts it there"
            )
    return [printable(name) for name in (*names, *sorted(lost))]


def _lost(value: object, name: str) -> Iterator[str]:
    """Fields of messages, also of listed answers, that hold something and that no message keeps."""
    for item in value if isinstance(value, list) else ():
        if not isinstance(item, Mapping):
            continue
        if "role" in item:
            message = _tidied_or_none(item)
            for key, said in (message or {}).items():
                if key not in Message.__annotations__ and said not in (None, "", [], {}):
                    yield f"{name}.{key}"
        else:
            for key, inner in item.items():
                yield from _lost(inner, f"{name}.{key}")


def _tidied_or_none(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """None for what only looks like a message: those of the record were read without an error."""
    try:
        message = tidied(item)
    except BadLineError:
        return None
    assert isinstance(message, Mapping)
    return message


def _reason(error: ValidationError) -> str:
    """The first fault: its field, and what is wrong. Readers of a field name a place within it,
    which goes on where the field's own name ends."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    reason = first["msg"].removeprefix("Value error, ")
    if reason.startswith((".", ":")):
        return f"{field}{reason}"
    return ": ".join(filter(None, (field, reason)))


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
