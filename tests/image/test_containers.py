"""Each image by itself, run as a container would be that is allowed nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.container import Container, Mount, Start
from tests.image.images import Image
from tests.waiting import wait_until

Begin = Callable[[Start], Container]

END_S = 90
"""A start of torch on a busy machine is slow."""

RIGHTS = """
import getpass, os, pathlib
status = dict(
    line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines()
)
assert status["Uid"].split()[:2] == ["10001", "10001"], status["Uid"]
assert status["NoNewPrivs"].strip() == "1"
assert all(int(status[name], 16) == 0 for name in ("CapEff", "CapPrm", "CapInh", "CapBnd"))
assert os.getpid() == 1
assert os.statvfs("/").f_flag & os.ST_RDONLY
for folder in ("/", "/app", "/app/bin", "/etc", "/root"):
    try:
        (pathlib.Path(folder) / "written").touch()
    except OSError:
        continue
    raise SystemExit(f"{folder} can be written to")
pathlib.Path("~/written").expanduser().touch()
assert pathlib.Path("/tmp/written").exists()
assert getpass.getuser() == "bon"
print("restricted")
"""


def ended(container: Container) -> int:
    return container.wait(END_S)


pytestmark = pytest.mark.image


@pytest.fixture(params=["gateway", "reward-server", "trainer"])
def image(store: Path, request: pytest.FixtureRequest) -> Image:
    return Image.read(store, request.param)


def test_the_process_has_no_rights_and_nowhere_to_write_but_tmp(image: Image, start: Begin) -> None:
    container = start(Start(image, "rights", ["python3", "-c", RIGHTS]))
    assert ended(container) == 0, container.log
    assert container.log.strip() == "restricted"


def test_the_gateway_without_a_settings_file_names_the_one_it_wants(
    gateway_image: Image, start: Begin
) -> None:
    container = start(Start(gateway_image, "gateway"))
    assert ended(container) == 2
    assert "/etc/bon-gateway/config.yaml" in container.log


def test_the_gateway_on_the_demo_models_says_that_it_has_no_torch(
    gateway_image: Image, start: Begin
) -> None:
    container = start(Start(gateway_image, "gateway", args=["serve"]))
    assert ended(container) == 2
    assert "torch" in container.log


def test_the_reward_server_without_a_model_says_so(reward_image: Image, start: Begin) -> None:
    container = start(Start(reward_image, "reward"))
    assert ended(container) == 2
    assert "model" in container.log


def test_the_trainer_shows_its_commands(trainer_image: Image, start: Begin) -> None:
    container = start(Start(trainer_image, "trainer"))
    assert ended(container) == 0, container.log
    assert "dpo" in container.log


SETTINGS = """
policies: {far: {type: vllm, urls: ["http://127.0.0.1:9"]}}
models: {assistant: {policy: far, strategy: {type: single}}}
"""


@pytest.fixture
def settings(new_folder: Callable[[str], Path]) -> Mount:
    file = new_folder("settings") / "config.yaml"
    file.write_text(SETTINGS)
    return Mount("/etc/bon-gateway/config.yaml", file, read_only=True)


def serving(container: Container, address: str) -> None:
    def listening() -> bool:
        assert container.exit_code is None, container.log
        return f"listening on http://{address}" in container.log

    wait_until(listening, END_S, f"it listens on {address}")


def healthy(container: Container, image: Image) -> bool:
    return container.run(image.health_check).returncode == 0


def test_without_keys_the_gateway_stays_within_its_container(
    gateway_image: Image, start: Begin, settings: Mount
) -> None:
    container = start(Start(gateway_image, "gateway", mounts=[Mount("/tmp"), settings]))
    serving(container, "127.0.0.1:8080")


def test_with_keys_it_listens_and_its_health_check_holds(
    gateway_image: Image, start: Begin, settings: Mount
) -> None:
    environment = {"BON_GATEWAY_API_KEYS": "alice:secret"}
    container = start(
        Start(
            gateway_image,
            "gateway",
            environment=environment,
            mounts=[Mount("/tmp"), settings],
        )
    )
    serving(container, "0.0.0.0:8080")
    wait_until(lambda: healthy(container, gateway_image), END_S, "its health check holds")
    container.signal(signal.SIGSTOP)
    try:
        assert not healthy(container, gateway_image)
    finally:
        container.signal(signal.SIGCONT)
    container.signal(signal.SIGTERM)
    assert ended(container) == 0


def test_the_health_check_follows_the_port(
    gateway_image: Image, start: Begin, settings: Mount
) -> None:
    environment = {"BON_GATEWAY__SERVER__PORT": "9090"}
    container = start(
        Start(
            gateway_image,
            "gateway",
            environment=environment,
            mounts=[Mount("/tmp"), settings],
        )
    )
    serving(container, "127.0.0.1:9090")
    wait_until(lambda: healthy(container, gateway_image), END_S, "its health check holds")
