"""Shares the tests out among pytest-xdist's workers; a plugin of pytest.

A file's tests stay together, so that what its fixtures set up is set up once. Tests that need vLLM
form one group over all files: its engines boot once a run, and no two workers compete with them.

xdist hands a group to its scheduler by changing the tests' ids, which pytest 9.2 no longer lets it
do. So here each worker writes down the groups that it has found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadGroupScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

ENGINES = "engines"
FIRST = (
    "tests/trainers/",
    "tests/reward_server/",
    "tests/bon_gateway/compare/test_cli.py",
    "tests/project/test_adding.py",
)
"""The longest files, and folders that have most of them. They start early, so that none runs alone
at the end."""
WAITING = (
    "tests/integration/",
    "tests/bon_gateway/api/",
    "tests/bon_gateway/test_",
    "tests/helm/test_scripts.py",
    "tests/test_",
)
"""Tests that wait for processes, sockets and clocks more than they compute."""
FOLDER = pytest.StashKey[TemporaryDirectory[str]]()
INPUT = "groups"


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[FOLDER] = TemporaryDirectory()
        config.add_cleanup(config.stash[FOLDER].cleanup)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    folder = Path(node.config.stash[FOLDER].name)
    node.workerinput[INPUT] = str(folder / f"{node.gateway.id}.json")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    groups = {item.nodeid: name for item in items if (name := group(item)) is not None}
    if hasattr(config, "workerinput"):
        Path(config.workerinput[INPUT]).write_text(json.dumps(groups), "utf-8")
    early = begin(dict.fromkeys(file(item.nodeid) for item in items))
    items.sort(key=lambda item: (groups.get(item.nodeid) != ENGINES, early[file(item.nodeid)]))


def group(item: pytest.Item) -> str | None:
    if needs_vllm(item):
        return ENGINES
    return next((name for name in ("gpu", "image") if item.get_closest_marker(name)), None)


def needs_vllm(item: pytest.Item) -> bool:
    """By the fixture through which all that runs in vLLM's interpreter is started."""
    return "vllm" in getattr(item, "fixturenames", ())


def file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def begin(files: Iterable[str]) -> dict[str, float]:
    """Where in the run each file begins, from 0 to 1.

    Files that wait are spread evenly among those that compute, so that the cores always have work.
    """
    waiting: list[str] = []
    computing: list[str] = []
    for name in files:
        (waiting if name.startswith(WAITING) else computing).append(name)
    computing.sort(key=lambda name: not name.startswith(FIRST))
    return {
        name: number / len(kind)
        for kind in (waiting, computing)
        for number, name in enumerate(kind)
    }


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    return Scheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


class Scheduling(LoadGroupScheduling):  # type: ignore[misc]  # xdist has no types
    """A group where a test has one, its file otherwise."""

    @cached_property
    def _groups(self) -> dict[str, str]:
        # It asks after all workers have collected the tests, which are the same in each.
        written = next(Path(self.config.stash[FOLDER].name).iterdir())
        groups: dict[str, str] = json.loads(written.read_text("utf-8"))
        return groups

    def _split_scope(self, nodeid: str) -> str:
        return self._groups.get(nodeid) or file(nodeid)
