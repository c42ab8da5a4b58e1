"""The command ``bon-gateway replay``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bon_gateway import cli
from bon_gateway.types import Candidate, ChatRequest
from tests.bon_gateway.replay.kit import candidates, line, write


def shortest(request: ChatRequest, found: list[Candidate]) -> int:
    """A hook."""
    return min(range(len(found)), key=lambda place: found[place].tokens)


@pytest.fixture
def pools(tmp_path: Path) -> Path:
    drawn = candidates([0.0, 1.0, 2.0, 3.0], tokens=[9, 8, 7, 6])
    return write(tmp_path / "pools.jsonl.gz", [line(drawn, f"prompt {i}") for i in range(3)])


def flags(pools: Path) -> list[str]:
    out = str(pools.parent / "out")
    return ["replay", "--pools", str(pools), "--output", out, "--permutations", "2"]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert cli.main([*arguments, "--print-config"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert isinstance(shown, dict)
    return shown


def test_it_writes_and_prints(pools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strategies = ["--strategy", "best_of_n", "--set", "n=2", "--strategy", "first_k"]
    done = cli.main([*flags(pools), *strategies, "--set", "n=2", "--set", "spare=1"])
    out, err = capsys.readouterr()
    assert done == 0
    folder = pools.parent / "out"
    names = ["best_of_n n=4", "best_of_n n=2", "first_k n=2 spare=1", "random choice"]
    results = json.loads((folder / "results.json").read_text())
    assert [row["name"] for row in results["rows"]] == names
    assert results["rows"][2]["settings"]["spare"] == 1
    for name in names:
        assert name in out
    assert (folder / "table.txt").read_text() in out
    assert (folder / "page.html").is_file()
    assert err.splitlines()[:3] == [f"replaying {name}" for name in names[:3]]


def test_a_setting_belongs_to_the_strategy_before_it(
    pools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*flags(pools), "--set", "resamples=200", "--strategy", "single", "--strategy"]
    shown = printed(capsys, *arguments, "majority", "--set", "extract.type=exact", "--n", "2")
    assert shown["resamples"] == 200
    assert shown["n"] == 2
    assert shown["permutations"] == 2
    strategies = shown["strategies"]
    assert isinstance(strategies, dict)
    assert [*strategies] == ["single", "majority extract.type=exact"]
    assert strategies["majority extract.type=exact"]["extract"] == {"type": "exact"}


def test_a_file_may_name_code_and_flags_may_not(
    pools: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function = "tests.bon_gateway.replay.test_cli:shortest"
    config = tmp_path / "replay.yaml"
    tree = {"strategies": {"mine": {"type": "hook", "function": function, "n": 4}}}
    config.write_text(yaml.safe_dump(tree))
    assert cli.main([*flags(pools), "--config", str(config)]) == 0
    capsys.readouterr()
    (row,) = [
        row
        for row in json.loads((pools.parent / "out" / "results.json").read_text())["rows"]
        if row["name"] == "mine"
    ]
    assert row["reward"]["value"] == 3
    refused = cli.main([*flags(pools), "--strategy", "hook", "--set", f"function={function}"])
    assert refused == 2
    assert "only the settings file may name code to run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "settings: strategies: is required"),
        (["--strategy", "best"], "strategies.best.type: unknown type 'best'; known: best_of_n,"),
        (["--strategy", "soft", "--set", "m=3"], "'soft m=3'.m: unknown key; known: deadline_ms, "),
        (["--strategy", "soft", "--set", "n"], "--set: n: expected KEY=VALUE"),
        (["--strategy", "single", "--strategy", "single"], "--strategy: single: is given twice"),
        (["--set", "nn=3", "--strategy", "single"], "nn: unknown key; did you mean 'n'?"),
        (["--strategy", "single", "--token-ms", "0"], "--token-ms: token_ms: should be greater"),
        (["--strategy", "first_k"], "draws 10 candidates, and the smallest pool has 4"),
        (["--strategy", "single", "--model", "x"], "pools: hold no request for x"),
        (["--strategy", "single", "--greedy", "/no"], "/no: cannot be read: No such file"),
    ],
)
def test_what_is_wrong_is_one_line(
    pools: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert cli.main([*flags(pools), *more]) == 2
    out, err = capsys.readouterr()
    wrong = err.splitlines()[-1]
    assert out == ""
    assert wrong.startswith("bon-gateway: ")
    assert message in wrong


def test_pools_may_be_given_together_and_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["replay", "--pools", "a", "b", "--pools", "c", "--strategy", "single"]
    assert printed(capsys, *arguments)["pools"] == ["a", "b", "c"]


def test_without_pools(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", "--strategy", "single"]) == 2
    assert capsys.readouterr().err == "bon-gateway: settings: pools: is required\n"


def test_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "what any strategy would cost and answer" in capsys.readouterr().out
