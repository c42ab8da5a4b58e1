"""The base of all readers, and their options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from trainers.base.metadata import METADATA
from trainers.base.template_inputs import TemplateInputs, read_inputs
from trainers.preferences.readers import fields
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
    """Fields that need no mention where they are not read. `metadata` among them is not taken."""
    templated: bool = False
    """Take prompts that already hold a chat template's tokens."""

    @property
    def takes_metadata(self) -> bool:
        return METADATA not in self.ignore_fields


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

    def metadata(self, values: Values) -> Mapping[str, Any]:
        """What a record has for verifiers."""
        return fields.metadata(values)

    def beside(
        self, values: Values, options: ReadOptions
    ) -> tuple[TemplateInputs, Mapping[str, Any]]:
        """Inputs and metadata, as far as the options take them."""
        return self.inputs(values), self.metadata(values) if options.takes_metadata else {}

    def preferences(self, values: Values, tally: Tally, options: ReadOptions) -> list[Preference]:
        """A record's preferences with what stands beside them, once all of it was read."""
        inputs, metadata = self.beside(values, options)
        found = self.read(values, tally, options)
        return [replace(one, inputs=inputs, metadata=metadata) for one in found]

    @abstractmethod
    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterable[Preference]:
        """A record's preferences, without inputs and metadata; BadLineError for one that cannot be
        read."""
