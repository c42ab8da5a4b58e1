"""How the build is called, and how pip's settings of this machine reach it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.image_build import TOOLS, Build, build_arguments
from scripts.image_pip import PipSettings, parse


def test_pips_sections_win_over_each_other_as_in_pip() -> None:
    settings = parse(
        ":env:.index-url='https://env.example/simple'\n"
        "global.index-url='https://global.example/simple'\n"
        "install.index-url='https://install.example/simple'\n"
        "global.timeout='9'\n"
    )
    assert settings.values == {"index-url": "https://env.example/simple", "timeout": "9"}


def test_only_what_says_where_packages_come_from_is_passed_on() -> None:
    settings = parse("global.target='/somewhere'\nglobal.cache-dir='/cache'\nlist.format='json'\n")
    assert settings.values == {}


def test_a_list_of_addresses_stays_a_list() -> None:
    settings = parse("global.extra-index-url='https://a.example\\nhttps://b.example'")
    assert settings.text == (
        "[global]\nextra-index-url = https://a.example\n    https://b.example\n"
    )


def test_local_files_that_settings_name_are_found(tmp_path: Path) -> None:
    simple = tmp_path / "index" / "simple"
    simple.mkdir(parents=True)
    certificate = tmp_path / "ca.crt"
    certificate.touch()
    settings = PipSettings(
        {
            "extra-index-url": f"https://a.example/simple file://{simple}",
            "cert": str(certificate),
            "find-links": "/there/is/no/such/folder",
        }
    )
    # An index's pages lead to files beside its folder.
    assert settings.local_paths == [certificate, tmp_path / "index"]


def build(tool: str, pip: PipSettings) -> Build:
    return Build(
        tool=TOOLS[tool],
        tag="1",
        arguments={"PIP_ARGS": "--pre --no-deps"},
        pip=pip,
        mounts_local=tool == "buildah",
    )


@pytest.mark.parametrize("tool", list(TOOLS))
def test_settings_are_a_secret_of_the_build_and_no_argument(tool: str, tmp_path: Path) -> None:
    pip = PipSettings({"index-url": "https://user:password@a.example/simple"})
    command = build(tool, pip).command("trainer", tmp_path / "pip.conf")
    assert command[: len(TOOLS[tool])] == list(TOOLS[tool])
    assert f"--secret=id=pip.conf,src={tmp_path / 'pip.conf'}" in command
    assert "--build-arg=PIP_ARGS=--pre --no-deps" in command
    assert {"--target=trainer", "--tag=bon-trainer:1"} <= set(command)
    assert not any("password" in word for word in command)


def test_only_buildah_mounts_local_files(tmp_path: Path) -> None:
    pip = PipSettings({"find-links": str(tmp_path)})
    mount = f"--volume={tmp_path}:{tmp_path}:ro"
    assert mount in build("buildah", pip).command("gateway", tmp_path)
    assert mount not in build("docker", pip).command("gateway", tmp_path)


def test_build_arguments_are_those_that_are_set() -> None:
    arguments = build_arguments({"PIP_ARGS": "", "TORCH_INDEX_URL": "https://a.example"}, "base")
    assert arguments.pop("VERSION")
    assert arguments.pop("REVISION")
    assert arguments == {"TORCH_INDEX_URL": "https://a.example", "PYTHON_IMAGE": "base"}
