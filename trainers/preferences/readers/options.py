"""What a reader of a format is, and the options that it gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from trainers.preferences.readers.fields import Values
from trainers.preferences.records import Preference
from trainers.preferences.tally import Tally

STEP_MARGINS: Mapping[str, float] = MappingProxyType(
    {"significantly better": 3.0, "better": 2.0, "slightly better": 1.0}
)
"""Llama 2 (Touvron et al. 2023, arXiv:2307.09288, appendix A.3.3) trained with such margins."""


@dataclass(frozen=True)
class ReadOptions:
    """How all records of a run are read."""

    step_margins: Mapping[str, float] = field(default_factory=lambda: STEP_MARGINS)
    """Margins of the better half of the six-step scale; the worse half mirrors them."""
    keep_cut: bool = False
    """Keep answers of the candidate log that ended at their token limit."""
    keep_degraded: bool = False
    """Keep finished candidates of requests that the candidate log calls degraded."""


class FormatReader(ABC):
    """One format."""

    summary: ClassVar[str]
    """Its keys, in a line."""
    keys: ClassVar[tuple[str, ...]] = ()
    """The keys that tell a record of this format."""

    def matches(self, values: Values) -> bool:
        """Whether a record looks like this format; the first that matches is taken."""
        return all(key in values for key in self.keys)

    @abstractmethod
    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterable[Preference]:
        """A record's preferences; BadLineError for one that cannot be read."""
