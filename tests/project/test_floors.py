"""At each level of each package files and folders stand on each other, and none on what it carries.

Import contracts say which folder stands on which. That no two siblings stand on each other holds
for all of them, and is computed here.
"""

from __future__ import annotations

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

PACKAGES = ("bon_common", "bon_gateway", "reward_server", "trainers")


def cycles(graph: grimp.ImportGraph) -> list[str]:
    """A line for each package within which some siblings import each other in a circle."""
    levels: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            ours, theirs = importer.split("."), imported.split(".")
            pairs = enumerate(zip(ours, theirs, strict=False))
            depth = next((place for place, (one, other) in pairs if one != other), None)
            if depth is not None:  # else one is the other's own `__init__`
                levels[".".join(ours[:depth])][ours[depth]].add(theirs[depth])
    found = []
    for level, siblings in sorted(levels.items()):
        try:
            TopologicalSorter(siblings).prepare()
        except CycleError as error:
            found.append(f"{level}: {' <- '.join(error.args[1])}")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_no_siblings_import_each_other(package: str) -> None:
    assert cycles(grimp.build_graph(package, cache_dir=None)) == []


def test_a_cycle_of_folders_is_found_where_no_file_is_in_one() -> None:
    graph = grimp.ImportGraph()
    for module in ("top", "top.a", "top.b", "top.a.one", "top.a.two", "top.b.one", "top.b.two"):
        graph.add_module(module)
    graph.add_import(importer="top.a.one", imported="top.b.one")
    assert cycles(graph) == []
    graph.add_import(importer="top.b.two", imported="top.a.two")
    [found] = cycles(graph)
    assert found.startswith("top: ")
