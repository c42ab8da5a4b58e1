"""Fields of foreign names: `{prompt: question, chosen: answers.best}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainers.preferences.tally import Tally


@dataclass(frozen=True)
class FieldMapping:
    """Where the fields of a format are in a file, as dotted names; numbers count in lists."""

    sources: Mapping[str, str] = field(default_factory=dict)

    def apply(self, values: Mapping[str, Any], tally: Tally) -> Mapping[str, Any]:
        """The record under the names that the formats know.

        What was not named stays under its own name, so that it can still be reported as not read.
        Records without a named field are counted; a reader decides whether they need it.
        """
        if not self.sources:
            return values
        rest: Any = values
        found = {}
        for target, source in self.sources.items():
            steps = source.split(".")
            value = _at(values, steps)
            if value is None:
                tally.note(f"records without {source} (fields.{target})")
            else:
                found[target] = value
                rest = _without(rest, steps)
        for target, source in self.sources.items():
            if target in found and rest.get(target) not in (None, "", [], {}):
                tally.note(f"records whose own {target} gave way to {source} (fields.{target})")
        return {**rest, **found}


def _at(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _without(value: Any, steps: list[str]) -> Any:
    """A copy that lacks the field at `steps`, which may be gone already."""
    step, rest = steps[0], steps[1:]
    if isinstance(value, Mapping) and step in value:
        others = {key: item for key, item in value.items() if key != step}
        left = _without(value[step], rest) if rest else None
        return others if left is None or left == {} else {**others, step: left}
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        place = int(step)
        # The place stays, because further names count from the list's start.
        left = _without(value[place], rest) if rest else None
        found = [*value[:place], left, *value[place + 1 :]]
        return found if any(item is not None for item in found) else None
    return value
