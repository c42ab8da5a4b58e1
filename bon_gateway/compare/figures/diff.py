"""Compares an old and a new run: which figures became worse.

A figure is worse if its new value is worse by more than the tolerance and the two intervals do not
overlap: noise alone seldom does both. An arm that is gone, or that lost its score, is worse too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.figures.results import FORMAT, RESULTS

FAILURES = 0.02
"""The share of failed requests may grow by this much."""


@dataclass(frozen=True, slots=True)
class Change:
    arm: str
    what: str
    old: str
    new: str
    worse: bool


def read_results(path: Path) -> dict[str, Any]:
    """``path`` is ``results.json`` or its folder. Raises SettingsError."""
    file = path / RESULTS if path.is_dir() else path
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        if tree["format"] != FORMAT:
            raise SettingsError(str(file), "", f"is of format {tree['format']}, not {FORMAT}")
        return {**tree, "arms": {arm["name"]: arm for arm in tree["arms"]}}
    except OSError as error:
        raise SettingsError(str(file), "", f"cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise SettingsError(str(file), "", "holds no results of a comparison") from None


def changes(old: Mapping[str, Any], new: Mapping[str, Any], tolerance: float) -> list[Change]:
    """The changes of every arm in ``old``; ``tolerance`` is a share of the old value.

    Raises SettingsError if the two cannot be compared."""
    if old["primary"] != new["primary"]:
        reason = f"quality is by {old['primary']} in one and by {new['primary']} in the other"
        raise SettingsError("compare diff", "", reason)
    found: list[Change] = []
    for name, before in old["arms"].items():
        after = new["arms"].get(name)
        if after is None:
            found.append(Change(name, "arm", "there", "gone", worse=True))
            continue
        found += _failures(name, before, after)
        quality = (before["quality"][old["primary"]], after["quality"][old["primary"]])
        found += _figure(name, "quality", *quality, tolerance, higher_is_better=True)
        found += _figure(name, "cost", before["cost"], after["cost"], tolerance)
        phases = {latency["phase"]: latency for latency in after["latency"]}
        for latency in before["latency"]:
            other = phases.get(latency["phase"])
            for level in ("0.5", "0.95"):
                what = f"latency {latency['phase']} p{100 * float(level):g}, ms"
                ours = None if other is None else other["quantiles"][level]
                found += _figure(name, what, latency["quantiles"][level], ours, tolerance)
    return found


def _failures(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    shares = [1 - arm["answered"] / max(1, arm["asked"]) for arm in (before, after)]
    worse = shares[1] > shares[0] + FAILURES
    return [Change(name, "failed", f"{shares[0]:.1%}", f"{shares[1]:.1%}", worse)]


def _figure(
    name: str,
    what: str,
    before: Mapping[str, float | None] | None,
    after: Mapping[str, float | None] | None,
    tolerance: float,
    *,
    higher_is_better: bool = False,
) -> list[Change]:
    if before is None:
        return []
    if after is None:
        return [Change(name, what, _text(before), "none", worse=True)]
    sign = -1 if higher_is_better else 1
    old, new = _bounds(before, sign), _bounds(after, sign)
    worse = new[0] > old[0] + tolerance * abs(old[0]) and new[1] > old[2]
    return [Change(name, what, _text(before), _text(after), worse)]


def _bounds(interval: Mapping[str, float | None], sign: int) -> tuple[float, float, float]:
    """Value, lower and upper end, negated if need be so that more is worse. null is infinite."""
    absent = {"value": math.inf, "low": -math.inf, "high": math.inf}
    found = {name: absent[name] if end is None else end for name, end in interval.items()}
    value, low, high = (sign * found[name] for name in absent)
    return value, min(low, high), max(low, high)


def _text(interval: Mapping[str, float | None]) -> str:
    value = interval["value"]
    return "infinite" if value is None else f"{value:.4g}"
