"""One concept, one name: no class of the product has the name of another one.

A leading underscore makes no other name: who searches for ``Worker`` finds both.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("bon_common", "bon_gateway", "reward_server", "trainers")

SHARED = {
    "BodyTooLargeError": "each server answers with errors of its own",
    "DeadlineError": "each server answers with errors of its own",
    "Metrics": "each server has its own",
    "Settings": "each package has its own root of settings",
    "SettingsError": "bon_common's names source and key; the trainers' is an error of one line",
}
"""Names that two modules have, each with the reason."""


def modules_of(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The modules of each class that stands at the top of a module, from names and sources."""
    found: dict[str, list[str]] = defaultdict(list)
    for module, source in sources:
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.ClassDef):
                found[statement.name.lstrip("_")].append(module)
    return found


def collisions() -> dict[str, list[str]]:
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    found = modules_of((str(path.relative_to(ROOT)), path.read_text()) for path in paths)
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def test_no_two_classes_share_a_name() -> None:
    assert {name: modules for name, modules in collisions().items() if name not in SHARED} == {}


def test_the_table_has_only_names_that_are_shared() -> None:
    assert sorted(SHARED.keys() - collisions().keys()) == []


def test_an_underscore_makes_no_other_name() -> None:
    found = modules_of([("one", "class Worker: ..."), ("two", "class _Worker: ...")])
    assert found == {"Worker": ["one", "two"]}
