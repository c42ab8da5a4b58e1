"""The chart's pods on the built images: a chat request end to end, the probes, the end.

Arguments, environment, volumes, probes and security context are those that the chart renders.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bon_common.keys import digest
from tests.image.cluster import (
    BEHIND_PORT,
    CALLERS_KEY,
    GENERATOR_PORT,
    KEYS,
    TRAINING_DATA,
    Cluster,
    values,
)
from tests.image.container import Container, Start
from tests.image.images import Image
from tests.image.kubelet import Pod
from tests.image.valve import Valve
from tests.waiting import wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

URL = "http://127.0.0.1:8080"
KEY = "a-key-for-the-tests"
QUESTION = {
    "model": "demo",
    "messages": [{"role": "user", "content": "name three toys for a bear"}],
}
READY_S = 120
"""Loading and warming up torch on a busy machine."""
SEEN_S = 30
ANSWER_S = 120


def ask(key: str | None = KEY) -> tuple[int, Any]:
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(
        f"{URL}/v1/chat/completions", json.dumps(QUESTION).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def model_folders(image: Image, folder: Path) -> dict[str, str]:
    """Where the shipped demo models are in an image, by their names."""
    container = Container(Start(image, "models", ["bon-gateway"], ["demo-models"]), folder)
    try:
        assert container.wait(READY_S) == 0, container.log
    finally:
        container.kill()
    return dict(line.split() for line in container.log.splitlines())


@pytest.fixture(scope="module")
def cluster(store: Path, new_folder: Callable[[str], Path]) -> Cluster:
    models = model_folders(Image.read(store, "reward-server"), new_folder("models"))
    keys = f"tests: sha256:{digest(KEY).hex()}\n"
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Sure!"}]
    conversation = json.dumps({"messages": turns})
    objects: list[dict[str, Any]] = [
        {"kind": "Secret", "metadata": {"name": KEYS}, "stringData": {"keys.txt": keys}},
        {"kind": "Secret", "metadata": {"name": CALLERS_KEY}, "stringData": {"api-key": KEY}},
        {
            "kind": "ConfigMap",
            "metadata": {"name": TRAINING_DATA},
            "data": {"train.jsonl": f"{conversation}\n" * 4},
        },
    ]
    return Cluster(store, values(models["reward"], models["policy"]), objects, new_folder)


class Generator:
    """The pod behind the generator's Service, which can be lost and come back."""

    def __init__(self, cluster: Cluster, valve: Valve) -> None:
        self._cluster = cluster
        self.valve = valve
        self._container = cluster.generator()

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self._container.exit_code is None, self._container.log
            return answers(f"http://127.0.0.1:{BEHIND_PORT}/readyz")

        wait_until(ready, READY_S, "the generator is ready")

    def lose(self) -> None:
        self._container.kill()

    def come_back(self) -> None:
        self._container = self._cluster.generator()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def generator(cluster: Cluster) -> Iterator[Generator]:
    with Valve(GENERATOR_PORT, BEHIND_PORT) as valve:
        generator = Generator(cluster, valve)
        try:
            generator.wait_until_ready()
            yield generator
        finally:
            generator.lose()


@pytest.fixture(scope="module")
def reward_server(cluster: Cluster) -> Iterator[Pod]:
    pod = cluster.pod("Deployment", "reward-demo")
    try:
        pod.wait_until_started()
        pod.wait_until_ready(SEEN_S)
        yield pod
    finally:
        pod.container.kill()


@pytest.fixture
def gateway(cluster: Cluster, generator: Generator, reward_server: Pod) -> Iterator[Pod]:
    pod = cluster.pod("Deployment", "gateway")
    try:
        pod.wait_until_started()
        pod.wait_until_ready(READY_S)
        yield pod
    finally:
        generator.valve.open()
        pod.container.kill()


def test_a_chat_request_is_answered_end_to_end(gateway: Pod) -> None:
    status, answer = ask()
    assert status == 200, answer
    candidates = answer["bon"]["candidates"]
    rewards = [candidate["reward"] for candidate in candidates]
    assert [candidate["status"] for candidate in candidates] == ["finished"] * 4
    assert answer["bon"]["reward"] == max(rewards) == rewards[answer["bon"]["winner"]]
    # Four samples at temperature 1, scored: not one answer four times, nor a made-up reward.
    assert len(set(rewards)) > 1
    assert answer["choices"][0]["message"]["content"]


def test_who_has_no_key_is_refused(gateway: Pod) -> None:
    status, answer = ask(key=None)
    assert status == 401, answer


def test_the_pod_of_helm_test_is_content(cluster: Cluster, gateway: Pod) -> None:
    pod = cluster.pod("Pod", "test")
    try:
        assert pod.container.wait(ANSWER_S) == 0, pod.container.log
    finally:
        pod.container.kill()
    assert "demo answers: " in pod.container.log


def test_a_lost_generator_makes_the_gateway_unready_and_not_dead(
    gateway: Pod, generator: Generator
) -> None:
    assert gateway.live()
    generator.lose()
    try:
        wait_until(lambda: not gateway.ready(), SEEN_S, "the gateway is not ready")
        for _ in range(5):
            assert gateway.live()
            assert not gateway.ready()
            time.sleep(0.2)
        assert gateway.container.exit_code is None
    finally:
        generator.come_back()
        generator.wait_until_ready()
    gateway.wait_until_ready(SEEN_S)
    status, answer = ask()
    assert status == 200, answer


def test_a_request_in_flight_at_sigterm_is_finished_within_the_grace_period(
    gateway: Pod, generator: Generator
) -> None:
    generator.valve.shut()
    with ThreadPoolExecutor(2) as threads:
        asked = threads.submit(ask)
        wait_until(lambda: generator.valve.waiting == 4, ANSWER_S, "four candidates are drawn")
        ending = threads.submit(gateway.terminate)
        try:
            wait_until(lambda: not gateway.ready(), SEEN_S, "a pod that ends is not ready")
            # Longer than the drain's delay, after which no new connection is taken.
            wait_until(lambda: not answers(f"{URL}/livez"), SEEN_S, "its socket is closed")
            time.sleep(3)
            assert gateway.container.exit_code is None
            assert not asked.done()
        finally:
            generator.valve.open()
        status, answer = asked.result(ANSWER_S)
        ended = ending.result(ANSWER_S)
    assert status == 200, answer
    assert [c["status"] for c in answer["bon"]["candidates"]] == ["finished"] * 4
    assert (ended.exit_code, ended.killed) == (0, False), gateway.container.log
    assert ended.took_s < gateway.grace_s


def test_a_gateway_with_nothing_in_flight_ends_after_its_delay(gateway: Pod) -> None:
    ended = gateway.terminate()
    assert (ended.exit_code, ended.killed) == (0, False), gateway.container.log
    assert 2 <= ended.took_s < gateway.grace_s


def test_a_trainer_job_trains_and_ends(cluster: Cluster) -> None:
    pod = cluster.pod("Job", "trainer-demo")
    try:
        assert pod.container.wait(300) == 0, pod.container.log
    finally:
        pod.container.kill()


def test_a_trainer_job_that_is_deleted_ends_at_once(cluster: Cluster) -> None:
    pod = cluster.pod("Job", "trainer-endless")

    figures = ["python3", "-c", "print(open('/workspace/tuned/metrics.jsonl').read(1))"]

    def trains() -> bool:
        assert pod.container.exit_code is None, pod.container.log
        return pod.container.run(figures).stdout.strip() == "{"

    try:
        wait_until(trains, READY_S, "it writes figures")
        ended = pod.terminate()
        assert "bon-train: interrupted" in pod.container.log
        assert not ended.killed, pod.container.log
        assert ended.exit_code == 130
    finally:
        pod.container.kill()


def test_a_reward_server_ends_by_its_hook_and_its_signal(reward_server: Pod) -> None:
    """The last test: the pod is the module's."""
    ended = reward_server.terminate()
    assert (ended.exit_code, ended.killed) == (0, False), reward_server.container.log
    assert ended.took_s < reward_server.grace_s
