"""What all integration tests share: the engines, booted once and side by side, and a gateway that
serves every reward backend over every fan-out."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bon_gateway import demo_models
from tests.integration.engines import (
    Generator,
    Upstream,
    start_generator,
    start_pooling,
    start_reward_server,
)
from tests.integration.gateway import Gateway
from tests.integration.processes import Processes
from tests.integration.served import Served, serve
from tests.vllm_forks import VllmForks

REWARDS = ("reward_server", "vllm_classify", "in_process")
FAN_OUTS = ("separate", "together")
BOOT_TIMEOUT_S = 500


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that wait for a boot get the time for it."""
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    for fixture in ("engines", "served", "doomed"):
        for item in here:
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.timeout(BOOT_TIMEOUT_S), append=False)
                break


@dataclass(frozen=True)
class Engines:
    generator: Generator
    pooling: Upstream
    reward_server: Upstream

    @property
    def ports(self) -> tuple[int, ...]:
        return (self.generator.port, self.pooling.port, self.reward_server.port)

    def settings(self) -> dict[str, Any]:
        """A model for each reward backend and fan-out, ``in_process-together`` and so on, and
        ``one``, which passes a single sample through."""
        reward_model = str(demo_models.reward_path())
        urls = {"urls": [self.generator.url]}
        return {
            "policies": {
                fan_out: {"type": "vllm", "fan_out": fan_out, **urls} for fan_out in FAN_OUTS
            },
            "rewards": {
                "reward_server": {"type": "reward_server", "urls": [self.reward_server.url]},
                "vllm_classify": {"type": "vllm_classify", "urls": [self.pooling.url]},
                "in_process": {"type": "in_process", "model": reward_model},
            },
            "models": {
                "one": {"policy": "separate", "strategy": {"type": "single"}},
                **{
                    f"{reward}-{fan_out}": {
                        "policy": fan_out,
                        "reward": reward,
                        "strategy": {"type": "best_of_n", "n": 8},
                    }
                    for reward, fan_out in product(REWARDS, FAN_OUTS)
                },
            },
        }


@pytest.fixture(scope="session")
def processes(
    tmp_path_factory: pytest.TempPathFactory, vllm_forks: VllmForks
) -> Iterator[Processes]:
    """They run until the session ends. At the end all are stopped, and none may be left. SIGTERM is
    such an end too: whatever limits the time of a test run sends it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _owned(tmp_path_factory.mktemp("processes")) as processes:
        yield processes
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def passing(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """They end with the module, which gives their memory back. ``processes`` minds the signals."""
    with _owned(tmp_path_factory.mktemp("passing")) as passing:
        yield passing


@contextmanager
def _owned(folder: Path) -> Iterator[Processes]:
    processes = Processes(folder)
    try:
        yield processes
    finally:
        processes.stop_all()
    assert processes.left() == []


@pytest.fixture(scope="session")
def engines(processes: Processes, vllm: VllmForks) -> Engines:
    reward_server = start_reward_server(processes)
    generator = start_generator(processes, vllm, "vllm-policy")
    pooling = start_pooling(processes, vllm)
    for upstream in (reward_server, generator, pooling):
        upstream.wait()
    return Engines(generator, pooling, reward_server)


@pytest.fixture(scope="module")
def doomed(passing: Processes, vllm: VllmForks) -> Generator:
    """An engine that a test may stop and kill."""
    engine = start_generator(passing, vllm, "doomed", "--max-num-queued-reqs", "24")
    engine.wait()
    return engine


@pytest.fixture
def doomed_pooling(passing: Processes, vllm: VllmForks) -> Upstream:
    engine = start_pooling(passing, vllm)
    engine.wait()
    return engine


@pytest.fixture(scope="session")
def served(
    processes: Processes, vllm: VllmForks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """What `bon-train` has tuned and exported, on engines of its own."""
    with serve(processes, vllm, tmp_path_factory.mktemp("trained")) as served:
        yield served


@pytest.fixture(scope="session")
def gateway(processes: Processes, engines: Engines) -> Gateway:
    """Does no harm and comes to none."""
    gateway = Gateway(processes, engines.settings())
    gateway.wait()
    return gateway


@pytest.fixture(scope="module")
def start_gateway(passing: Processes) -> Callable[[Mapping[str, Any] | None], Gateway]:
    """Further gateways, which end with the module."""

    def start(settings: Mapping[str, Any] | None = None) -> Gateway:
        gateway = Gateway(passing, settings)
        gateway.wait()
        return gateway

    return start


@pytest.fixture(scope="session")
def reward_by_hand() -> Callable[[list[Any]], float]:
    """The raw reward of a conversation, by transformers alone."""
    from tests.integration.reference import Reference

    return Reference(demo_models.reward_path()).reward
