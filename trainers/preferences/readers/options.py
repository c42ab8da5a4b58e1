"""The base of all readers, and their options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from trainers.base.template_inputs import TemplateInputs, read_inputs
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.mapping import FieldMapping
from trainers.preferences.records import Preference
from trainers.preferences.steps import STEP_MARGINS
from trainers.preferences.tally import Tally


@dataclass(frozen=True)
class ReadOptions:
    """Options for all records of a run."""

    step_margins: Mapping[str, float] = field(default_factory=lambda: STEP_MARGINS)
    """Margins of the better half of the six-step scale; the worse half mirrors them."""
    keep_cut: bool = False
    """Keep answers of the candidate log that ended at their token limit."""
    keep_degraded: bool = False
    """Keep finished candidates of requests that the candidate log calls degraded."""
    fields: FieldMapping = field(default_factory=FieldMapping)
    """Where the formats' fields are in the files."""
    ignore_fields: frozenset[str] = frozenset()
    """Fields that need no mention where they are not read."""
    templated: bool = False
    """Take prompts that already hold a chat template's tokens."""


class FormatReader(ABC):
    """One format; the docstring of a reader lists its keys."""

    keys: ClassVar[tuple[str, ...]] = ()
    """The keys that tell a record of this format."""
    harmless: ClassVar[frozenset[str]] = frozenset()
    """Fields of this format that hold nothing to learn from; a leading `candidates.` and the like
    names those of a list's entries."""

    def matches(self, values: Values) -> bool:
        """Whether a record looks like this format; the first that matches is taken."""
        return all(key in values for key in self.keys)

    def inputs(self, values: Values) -> TemplateInputs:
        """What a record has beside its messages; BadLineError for what cannot be read."""
        return read_inputs(values)

    def preferences(self, values: Values, tally: Tally, options: ReadOptions) -> list[Preference]:
        """A record's preferences with their inputs, once all of it was read."""
        inputs = self.inputs(values)
        return [replace(one, inputs=inputs) for one in self.read(values, tally, options)]

    @abstractmethod
    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterable[Preference]:
        """A record's preferences, without `inputs`; BadLineError for one that cannot be read."""
