"""Compiles a schema in its own dialect.

Clients send all dialects since draft 4, mostly without saying which. Engines take them all, so a
schema is refused only if no dialect accepts it. Formats are not checked, because engines do not
keep to them. This module runs in the gateway and in its checking process (``worker``), so it
imports nothing heavy. Callers limit the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema_rs import (
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
    FancyRegexOptions,
    RegexOptions,
    ValidationError,
    ValidationErrorKind,
    Validator,
)

LENIENT = (Draft202012Validator, Draft7Validator, Draft4Validator)
"""The order in which dialects are tried if ``$schema`` names none. Draft 7 has lists of ``items``
and draft 4 a boolean ``exclusiveMinimum``, which newer ones refuse."""

NAMED: Mapping[str, type[Validator]] = {
    "json-schema.org/draft-04/schema": Draft4Validator,
    "json-schema.org/draft-06/schema": Draft6Validator,
    "json-schema.org/draft-07/schema": Draft7Validator,
    "json-schema.org/draft/2019-09/schema": Draft201909Validator,
    "json-schema.org/draft/2020-12/schema": Draft202012Validator,
}

KEYWORDS = frozenset((
    "$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "not", "if", "then",
    "else", "properties", "patternProperties", "additionalProperties", "propertyNames",
    "unevaluatedProperties", "items", "prefixItems", "additionalItems", "contains",
    "unevaluatedItems", "type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum",
    "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems",
    "uniqueItems", "maxContains", "minContains", "maxProperties", "minProperties", "required",
    "dependentRequired", "dependentSchemas", "dependencies", "format", "contentEncoding",
    "contentMediaType", "contentSchema",
))  # fmt: skip
"""Keywords of all dialects that can say something about a value."""

LONGEST_REASON = 300
"""Most characters of a reason. The library's words quote the schema, however large it is."""

# Patterns within these limits compile in a few milliseconds, and their automata need no more memory
# than this.
SMALL_PATTERN = RegexOptions(size_limit=256 * 1024, dfa_size_limit=1024 * 1024)
LARGE_PATTERN = RegexOptions(size_limit=10 * 1024 * 1024, dfa_size_limit=8 * 1024 * 1024)
# Lookaround and backreferences need an engine that backtracks.
BACKTRACKING = FancyRegexOptions(backtrack_limit=1_000_000)


class NotASchemaError(ValueError):
    """No dialect accepts it."""


class UnreadablePatternError(NotASchemaError):
    """It may be a schema, but this library cannot read a pattern in it."""


def compile_small(schema: Any) -> Validator | None:
    """The validator, if the patterns in ``schema`` are small and match in linear time."""
    for dialect in dialects(schema):
        try:
            return _compile(dialect, schema, SMALL_PATTERN)
        except ValueError:
            continue
    return None


def compile_any(schema: Any) -> tuple[Validator, bool]:
    """The validator, and whether its patterns backtrack. Raises NotASchemaError with the reason
    that the first dialect gave, or UnreadablePatternError."""
    refusals: list[ValueError] = []
    for patterns in (LARGE_PATTERN, BACKTRACKING):
        for dialect in dialects(schema):
            try:
                return _compile(dialect, schema, patterns), patterns is BACKTRACKING
            except ValueError as refusal:
                refusals.append(refusal)
    if any(_is_about_a_pattern(refusal) for refusal in refusals):
        raise UnreadablePatternError
    first = refusals[0]
    reason = first.message if isinstance(first, ValidationError) else str(first)
    raise NotASchemaError(reason[:LONGEST_REASON])


def dialects(schema: Any) -> Iterable[type[Validator]]:
    """The dialects to try. The one that ``$schema`` names comes first; the others follow, because a
    wrong name is more common than a wrong schema."""
    named = schema.get("$schema") if isinstance(schema, dict) else None
    first = NAMED.get(_bare(named)) if isinstance(named, str) else None
    if first is None:
        return LENIENT
    return (first, *(dialect for dialect in LENIENT if dialect is not first))


def _is_about_a_pattern(refusal: ValueError) -> bool:
    if not isinstance(refusal, ValidationError):
        return False
    kind = refusal.kind
    return isinstance(kind, ValidationErrorKind.Format) and kind.format == "regex"


def gave_up(validator: Validator, value: Any) -> bool:
    """Whether ``value`` was found invalid only because a pattern took too many steps."""
    return any(_ran_out(error.kind) for error in validator.iter_errors(value))


def _ran_out(kind: ValidationErrorKind) -> bool:
    if isinstance(
        kind, ValidationErrorKind.BacktrackLimitExceeded | ValidationErrorKind.RegexEngineFailure
    ):
        return True
    branches = getattr(kind, "context", ())
    return any(_ran_out(error.kind) for branch in branches for error in branch)


def _compile(
    dialect: type[Validator], schema: Any, patterns: RegexOptions | FancyRegexOptions
) -> Validator:
    # Offline, because otherwise the library would fetch the documents behind references.
    return dialect(schema, pattern_options=patterns, validate_formats=False, offline=True)


def _bare(uri: str) -> str:
    return uri.removeprefix("http://").removeprefix("https://").rstrip("#")
