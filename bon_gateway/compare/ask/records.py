"""The raw records of a run: one JSON object a line, appended as each request ends.

A run that was stopped goes on where it was: what the file holds is not asked again. A line that
was cut off by a kill is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.settings import CompareSettings
from bon_gateway.compare.types import Record, from_dict, to_dict

RECORDS = "records.jsonl"
SCORES = "scores.jsonl"
PLAN = "plan.json"


class JsonLines:
    """Appends objects to a file, each flushed so that a kill costs one line at most."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def write(self, tree: Mapping[str, Any]) -> None:
        self._file.write(orjson.dumps(tree) + b"\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


class RecordFile(JsonLines):
    def add(self, record: Record) -> None:
        self.write(to_dict(record))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines; the file is cut to them, so that appending goes on with a line of its own.

    Raises SettingsError for a broken line that is not the last.
    """
    if not path.exists():
        return []
    payload = path.read_bytes()
    whole = payload.rfind(b"\n") + 1
    if whole < len(payload):
        with path.open("r+b") as file:
            file.truncate(whole)
    trees = []
    for number, line in enumerate(payload[:whole].splitlines(), 1):
        try:
            trees.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            raise SettingsError(f"{path}:{number}", "", "is no JSON") from None
    return trees


def read_records(path: Path) -> list[Record]:
    """Raises SettingsError for a line that is no record."""
    records = []
    for number, tree in enumerate(read_lines(path), 1):
        try:
            records.append(from_dict(tree))
        except (KeyError, TypeError, AttributeError):
            raise SettingsError(f"{path}:{number}", "", "is no record of a comparison") from None
    return records


def plan_of(settings: CompareSettings, prompts: Sequence[Any]) -> dict[str, Any]:
    """What decides the requests. All else (prices, training, scorers) may change afterwards."""
    tree = settings.model_dump(mode="json")
    return {
        "prompts": list(prompts),
        "sampling": tree["sampling"],
        "seed": tree["seed"],
        "load": {name: tree["load"][name] for name in ("mode", "stream")},
        "arms": {
            name: {key: arm[key] for key in ("url", "model", "bon", "sampling")}
            for name, arm in tree["arms"].items()
        },
    }


def claim(folder: Path, plan: Mapping[str, Any], *, restart: bool) -> None:
    """Make ``folder`` the place of this plan, or go on in it if its records are of the same
    prompts, seeds and arms; arms may be added and left out.

    Raises SettingsError if it holds another plan's records; ``restart`` removes them instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PLAN
    if restart:
        for name in (RECORDS, SCORES, PLAN):
            (folder / name).unlink(missing_ok=True)
    wanted: dict[str, Any] = orjson.loads(orjson.dumps(plan))
    known = _known(path)
    for part in wanted.keys() - {"arms"}:
        if known.get(part, wanted[part]) != wanted[part]:
            raise SettingsError(str(folder), "", _OTHER.format(f"other {part}"))
    for name, arm in wanted["arms"].items():
        if known.get("arms", {}).get(name, arm) != arm:
            raise SettingsError(str(folder), "", _OTHER.format(f"another arm {name}"))
    merged = {**wanted, "arms": {**known.get("arms", {}), **wanted["arms"]}}
    path.write_bytes(orjson.dumps(merged, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


_OTHER = "holds the records of {}; --restart removes them"


def _known(path: Path) -> dict[str, Any]:
    """The plan that the folder has; raises SettingsError if it is none."""
    if not path.exists():
        return {}
    try:
        tree = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        tree = None
    if not isinstance(tree, dict):
        raise SettingsError(str(path), "", "is no plan of a comparison; --restart removes it")
    return tree
