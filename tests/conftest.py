"""Skips what this machine cannot run, shares the tests out among xdist's workers, reports further
tries, and ends what a stopped run leaves behind. Everything else is for the folders' own conftest
files."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import distribution
from tests.leftovers import Watch
from tests.repeats import Repeats
from tests.vllm_forks import VllmForks

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores; torch reads this when it is first imported, here and in the
    # processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

FORKS = pytest.StashKey[VllmForks]()
MOST_WORKERS = 4
IMPORT_TIMEOUT_S = 300
"""For the test that waits until vLLM is imported. That takes a minute from a cold disk, and longer
on a busy machine."""

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--most-repeats", type=int, metavar="N",
        help="fail if tests that may try again needed more than N further tries in all",
    )  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, since some tests wait. A fifth gains nothing, because the vLLM
    tests are one group."""
    return min((os.cpu_count() or 1) + 1, MOST_WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(distribution)
    # A shell has what it starts in the background ignore it, and what the tests start would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Repeats(config.getoption("--most-repeats")), "repeats")
        # CI's limit and `timeout` send it; fixtures then still stop their processes.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        config.add_cleanup(Watch().close)


@pytest.fixture(scope="session")
def vllm_forks(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[VllmForks]:
    """Fixtures that own processes ask for it, so that it ends after them. It starts nothing."""
    forks = VllmForks(tmp_path_factory.mktemp("vllm-forks"))
    request.config.stash[FORKS] = forks
    yield forks
    forks.close()


@pytest.fixture(scope="session")
def vllm(vllm_forks: VllmForks) -> VllmForks:
    """Runs programs in vLLM's interpreter. The import of vLLM begins here and goes on meanwhile."""
    vllm_forks.start()
    return vllm_forks


def pytest_collection_finish() -> None:
    """The collector would look at all that the tests import, again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    end_idle_engines(item, nextitem)
    yield
    # A server or a runner of asyncio that takes the signal and does not give it back would have
    # the tests after it end in other ways than they say.
    left = signal.signal(signal.SIGINT, signal.default_int_handler)
    assert left is signal.default_int_handler, f"the test leaves a handler of SIGINT: {left}"


def end_idle_engines(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Engines poll a hundred times a second even if nobody asks them. So they end with the last
    test that needs them, and not with the run."""
    forks = item.config.stash.get(FORKS, None)
    last = nextitem is None or not distribution.needs_vllm(nextitem)
    if forks is not None and last and distribution.needs_vllm(item):
        forks.end_all()


def missing_vllm() -> str | None:
    interpreter = os.environ.get("BON_VLLM_PYTHON")
    if interpreter is None:
        return "BON_VLLM_PYTHON names no interpreter (`make test` sets it)"
    if not Path(interpreter).exists():
        return "the interpreter that BON_VLLM_PYTHON names does not exist"
    return None


def missing_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "no CUDA device"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if distribution.needs_vllm(item):
            item.add_marker(pytest.mark.timeout(IMPORT_TIMEOUT_S), append=False)
            break
    for mark, missing in (("vllm", missing_vllm), ("gpu", missing_gpu)):
        marked = [item for item in items if item.get_closest_marker(mark)]
        # torch takes seconds to import: ask only where the answer matters.
        reason = missing() if marked else None
        if reason is not None:
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))
