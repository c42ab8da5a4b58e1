"""The candidate log: where it goes and what it may hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, field_validator

from bon_common.patterns import compile_pattern
from bon_gateway.sections.base import Section, check_expression


class RecordingSettings(Section):
    folder: str | None = None
    """Folder of the candidate log. None records nothing."""
    sample_rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of requests that are recorded, from 0 to 1. The request id decides, so a request that
    is sent again with its id is again recorded or again left out."""
    max_bytes: PositiveInt = 64 * 1024 * 1024
    """Bytes at which a file is closed and the next one begun."""
    keep: PositiveInt = 20
    """Closed files that stay in the folder, for all workers together. The oldest are removed."""
    gzip: bool = True
    """Whether to compress a file when it is closed for its size."""
    redact: tuple[str, ...] = ()
    """Regular expressions in RE2's syntax (no look-around, no back-references; ``\\d``, ``\\w`` and
    ``\\b`` match ASCII only). ``[redacted]`` replaces what they match: in texts, in JSON inside
    texts whatever its escapes, in numbers, in keys and in the request id."""
    redact_fields: tuple[str, ...] = ()
    """Dotted fields to leave out of messages and of sampling parameters, such as ``name``,
    ``content.image_url`` or ``tool_calls.function.arguments``. They apply inside lists too."""
    sampling: bool = True
    """Whether to record sampling parameters, including tools."""
    queue: PositiveInt = 1000
    """Records of one worker that may wait to be written. Further ones are dropped and counted."""

    @field_validator("redact")
    @classmethod
    def _are_expressions(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            check_expression(pattern)
            if any(compile_pattern(pattern).finditer("")):
                raise ValueError(f"{pattern!r} matches the empty text, so it would match anywhere")
        return patterns

    @field_validator("redact_fields")
    @classmethod
    def _are_paths(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not all(path.split(".")):
                raise ValueError(f"{path!r} is not a dotted field")
        return paths
