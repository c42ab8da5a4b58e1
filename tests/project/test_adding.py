"""docs/adding.md's examples work, and touch no more files than the page says."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
COPIED = (
    "bon_common",
    "bon_gateway",
    "reward_server",
    "trainers",
    "scripts",
    "helm",
    "docs",
    "monitoring",
)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
GENERATORS = [
    line.split()[1:]
    for line in MAKEFILE.partition("\ndocs:")[2].partition("\n\n")[0].split("\n\t")[1:]
]
"""What `make docs` runs, without the interpreter."""


def recipe(section: str) -> str:
    return PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]


def example(section: str) -> dict[str, str]:
    """The files of one recipe: what stands in each block, by the path in its first line."""
    text = recipe(section)
    blocks = re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", text, re.DOTALL)
    return dict(blocks)


def named(registry: str, lines: str) -> str:
    """The registry with the recipe's import, and with its entry in the tuple or the table."""
    if "import" not in lines:  # a line of pyproject.toml, which begins as it does there
        return re.sub(rf"^{re.escape(lines[:20])}.*\n", lines, registry, flags=re.MULTILINE)
    statement, _, rest = lines.partition("\n")
    if "KINDS" in rest:
        table, end, entry = "\nKINDS", "\n)", rest.partition("..., ")[2].rstrip(")\n") + ","
    else:
        table, end, entry = "\nCOMMANDS", "\n}", rest.partition("...,\n")[2].rstrip("}\n").strip()
    head, found, tail = registry.partition(table)
    return "\n".join([head, statement, found]) + tail.replace(end, f"\n    {entry}{end}", 1)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def run(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={"PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("section", "most"),
    [("A strategy", 6), ("A reward model", 5), ("A labeller", 4), ("A task", 2), ("A trainer", 6)],
)
def test_a_recipe(section: str, most: int, tmp_path: Path) -> None:
    for name in COPIED:
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.svg")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    before = digests(tmp_path)
    for path, text in example(section).items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(named(target.read_text(), text) if target.exists() else text)
    for generator in GENERATORS:
        run(tmp_path, *generator)
    lint = "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"
    run(tmp_path, "-c", lint)
    [test] = [path for path in example(section) if path.startswith("tests/")]
    plain = ("-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path))
    run(tmp_path, "-m", "pytest", *plain, "-o", "asyncio_mode=auto", test)
    after = digests(tmp_path)
    changed = {path for path, digest in after.items() if before.get(path) != digest}
    rows = re.findall(r"^\| (`.*?) \|", recipe(section), re.MULTILINE)
    assert changed == {path for row in rows for path in re.findall("`([^`]+)`", row)}
    assert len(changed) <= most
