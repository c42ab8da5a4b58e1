"""What is in the built images, and what is not."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.image_build import IMAGES, revision, version
from tests.image.images import Image

ENTRYPOINTS = {
    "gateway": "/app/bin/bon-gateway",
    "reward-server": "/app/bin/reward-server",
    "trainer": "/app/bin/bon-train",
}


pytestmark = pytest.mark.image


@pytest.fixture(params=list(IMAGES))
def image(store: Path, request: pytest.FixtureRequest) -> Image:
    return Image.read(store, request.param)


def files(image: Image) -> Iterator[Path]:
    """What the project added to its base."""
    return (image.rootfs / "app").rglob("*")


def test_it_starts_its_console_script_as_a_numeric_user(image: Image) -> None:
    assert image.entrypoint == [ENTRYPOINTS[image.target]]
    assert image.config["User"] == "10001:10001"
    assert (image.rootfs / ENTRYPOINTS[image.target].lstrip("/")).is_file()


def test_what_it_listens_on_is_declared(gateway_image: Image, reward_image: Image) -> None:
    assert list(gateway_image.config["ExposedPorts"]) == ["8080/tcp"]
    assert list(reward_image.config["ExposedPorts"]) == ["8081/tcp"]


def test_labels_say_what_was_built_from_what(image: Image) -> None:
    labels = image.config["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == IMAGES[image.target]
    assert labels[f"{prefix}version"] == version()
    assert labels[f"{prefix}revision"] == revision()
    assert labels[f"{prefix}licenses"] == "Apache-2.0"


def test_the_gateway_has_no_torch(gateway_image: Image) -> None:
    installed = {path.name.partition("-")[0].lower() for path in gateway_image.packages.iterdir()}
    assert "fastapi" in installed
    assert not installed & {"torch", "transformers", "numpy", "triton", "nvidia"}


def test_the_others_have_it(reward_image: Image, trainer_image: Image) -> None:
    assert (reward_image.packages / "torch").is_dir()
    assert (trainer_image.packages / "trl").is_dir()
    assert not (reward_image.packages / "trl").exists()


def test_images_with_torch_share_its_layer(reward_image: Image, trainer_image: Image) -> None:
    shared = [layer for layer in reward_image.layers if layer in trainer_image.layers]
    # The base, its environment, the requirements, torch; the project too, for it is the same.
    assert shared[:4] == reward_image.layers[:4]
    assert len(reward_image.layers) <= 5


def test_it_holds_the_built_wheel_and_no_sources(image: Image) -> None:
    packages = image.packages
    assert (packages / f"bon_gateway-{version()}.dist-info" / "licenses" / "LICENSE").is_file()
    assert (packages / "bon_gateway" / "demo_models" / "policy" / "config.json").is_file()
    assert not any((image.rootfs / name).exists() for name in ("src", "wheels", "project", "tests"))


def test_nothing_of_the_build_is_left(image: Image) -> None:
    root = image.rootfs
    assert not (image.packages / "pip").exists()
    assert not any(path.suffix == ".whl" for path in files(image))
    assert not (root / "pip" / "pip").exists()
    assert not (root / "root" / ".cache").exists()
    assert not any((root / "tmp").iterdir())
    # The secret: a mount point is all that may stay.
    configuration = root / "etc" / "pip.conf"
    assert not configuration.exists() or configuration.read_text() == ""


def test_python_need_not_compile_at_each_start(image: Image) -> None:
    source = image.packages / "bon_gateway" / "app.py"
    (compiled,) = (source.parent / "__pycache__").glob("app.cpython-*.pyc")
    # Otherwise it is taken for out of date.
    recorded = int.from_bytes(compiled.read_bytes()[8:12], "little")
    assert recorded == int(source.stat().st_mtime)


def test_its_user_owns_nothing(image: Image) -> None:
    user, group = image.user
    for path in files(image):
        facts = path.lstat()
        assert facts.st_uid != user, path
        assert facts.st_gid != group, path
        if not stat.S_ISLNK(facts.st_mode):
            assert not facts.st_mode & stat.S_IWOTH, path
            assert not facts.st_mode & (stat.S_ISUID | stat.S_ISGID), path


def test_its_history_names_no_setting_of_pip(image: Image) -> None:
    history = " ".join(step.get("created_by", "") for step in image.description["history"])
    assert "pip.conf" in history
    assert "index-url" not in history.replace('--extra-index-url "${TORCH_INDEX_URL}"', "")
