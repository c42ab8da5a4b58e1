"""The raw records of a run: one JSON object a line, appended as each request ends.

A run that was stopped continues: it does not ask again what the file already holds. A line that a
kill cut off is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.settings import CompareSettings
from bon_gateway.compare.types import ArmRecord, Key, ListedCandidate

RECORDS = "records.jsonl"
SCORES = "scores.jsonl"
PLAN = "plan.json"


Append = Callable[[ArmRecord | Mapping[str, Any]], None]


@contextmanager
def appending(path: Path) -> Iterator[Append]:
    """Gives a function that appends an object to the file; a kill costs one line at most."""
    with path.open("ab") as file:

        def append(entry: ArmRecord | Mapping[str, Any]) -> None:
            file.write(orjson.dumps(entry, default=Key._asdict) + b"\n")
            file.flush()

        yield append


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines. Cuts the file to them, so that what is appended begins a new line.

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


def read_records(path: Path) -> list[ArmRecord]:
    """Raises SettingsError for a line that is no record."""
    records = []
    for number, tree in enumerate(read_lines(path), 1):
        try:
            key = Key(**tree["key"])
            candidates = tuple(ListedCandidate(**one) for one in tree["candidates"])
            records.append(ArmRecord(**{**tree, "key": key, "candidates": candidates}))
        except (KeyError, TypeError, AttributeError):
            raise SettingsError(f"{path}:{number}", "", "is no record of a comparison") from None
    return records


def plan_of(settings: CompareSettings, prompts: Sequence[Any]) -> dict[str, Any]:
    """What decides the requests. Anything else (prices, training, scorers) may change later."""
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
    """Reserve ``folder`` for this plan, or continue in it if its records have the same prompts,
    seeds and arms; arms may be added and left out.

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
    """The folder's plan, empty if there is none yet. Raises SettingsError for a broken one."""
    if not path.exists():
        return {}
    try:
        tree = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        tree = None
    if not isinstance(tree, dict):
        raise SettingsError(str(path), "", "is no plan of a comparison; --restart removes it")
    return tree
