"""The command ``bon-gateway calibrate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_common.settings.sources import SettingsTree
from bon_gateway import cli
from bon_gateway.settings.tree import Settings
from bon_gateway.strategies.good_enough import GoodEnoughSettings
from tests.bon_gateway.calibrate.kit import fooled
from tests.bon_gateway.replay.kit import write


@pytest.fixture
def pools(tmp_path: Path) -> Path:
    return write(tmp_path / "pools.jsonl.gz", fooled(prompts=40))


def flags(pools: Path) -> list[str]:
    out = str(pools.parent / "out")
    return ["calibrate", "--pools", str(pools), "--output", out, "--set", "resamples=100"]


def test_it_writes_and_prints(pools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(flags(pools)) == 0
    out, err = capsys.readouterr()
    folder = pools.parent / "out"
    results = json.loads((folder / "results.json").read_text())
    assert results["recommended"]["row"] == "good_enough"
    assert (folder / "strategy.yaml").read_text() in out
    assert out.splitlines()[-1] == str(folder / "page.html")
    assert "calibrating on 40 prompts with gold, up to 16 candidates each" in err
    report = (folder / "report.md").read_text()
    assert report.startswith("# Serve this, because\n\n```yaml\n# This strategy takes")
    for name in ("Strategies", "Best-of-n", "The reward"):
        assert f"\n## {name}\n" in report
    for row in results["rows"]:
        assert f"\n| {row['name']} |" in report
    pictures = sorted(path.name for path in (folder / "pictures").glob("*.svg"))
    assert pictures == ["by-tokens.svg", "gold-by-n.svg", "reward-by-n.svg"]


def test_the_fragment_is_settings_of_the_gateway(pools: Path) -> None:
    assert cli.main(flags(pools)) == 0
    mine: dict[str, Any] = {
        "policies": {"p": {"type": "vllm", "urls": ["http://127.0.0.1:1"]}},
        "rewards": {"r": {"type": "reward_server", "urls": ["http://127.0.0.1:2"]}},
        "models": {"served": {"policy": "p", "reward": "r"}},
    }
    fragment = yaml.safe_load((pools.parent / "out" / "strategy.yaml").read_text())
    assert [*fragment["models"]] == ["served"]
    mine["models"]["served"] |= fragment["models"]["served"]
    tree = SettingsTree()
    tree.add((), mine, "test")
    strategy = tree.checked(Settings).models["served"].strategy
    assert isinstance(strategy, GoodEnoughSettings)
    assert (strategy.n, strategy.wave) == (16, 4)
    assert 0.7 < strategy.threshold < 0.9


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert cli.main(["calibrate", *arguments, "--print-config"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert isinstance(shown, dict)
    return shown


def test_flags_are_settings(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(
        capsys, "--pools", "a", "--model", "m", "--n", "8", "--good", "0.5", "--risk", "0.2",
        "--reward", "weak", "--extract", "boxed", "--gold", "labelled",
    )  # fmt: skip
    assert (shown["pools"], shown["model"], shown["n"], shown["ask"]) == (["a"], "m", 8, None)
    assert (shown["good"], shown["risk"], shown["reward"]) == (0.5, 0.2, "weak")
    assert (shown["extract"], shown["gold"]) == ({"type": "boxed"}, "labelled")


def test_with_an_address_they_are_what_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(
        capsys, "--url", "http://h:1", "--model", "m", "--prompts", "p.jsonl", "--n", "8",
        "--api-key-env", "KEY", "--set", "ask.sampling.temperature=1",
    )  # fmt: skip
    asked = shown["ask"]
    assert isinstance(asked, dict)
    assert (asked["model"], asked["n"], asked["api_key_env"]) == ("m", 8, "KEY")
    assert asked["sampling"] == {"temperature": 1}
    assert (shown["model"], shown["n"], shown["pools"]) == (None, None, [])


URL = ["--url", "http://127.0.0.1:9"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "settings: pools: give either pools or a gateway to ask (--url)"),
        (["--pools", "a", *URL, "--model", "m", "--prompts", "p"], "pools: give either pools or"),
        (URL, "ask.model: is required"),
        ([*URL, "--model", "m"], "ask.prompts: is required"),
        ([*URL, "--model", "m", "--prompts", "/no"], "/no: cannot be read: No such file"),
        (["--pools", "a", "--prompts", "p"], "--prompts: goes with --url"),
        (["--pools", "a", "--api-key-env", "p"], "--api-key-env: goes with --url"),
        (["--pools", "/no"], "/no: cannot be read: No such file"),
        (["--pools", "a", "--risk", "2"], "--risk: risk: should be less than 1, not '2'"),
        (["--pools", "a", "--gold", "no"], "--gold: gold: should be 'auto', 'labelled' or 'ig"),
        (["--pools", "a", "--extract", "x"], "--extract: extract.type: unknown type 'x'; known:"),
        (["--pools", "a", "--set", "nn=3"], "nn: unknown key; did you mean 'n'?"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    output = ["--output", str(tmp_path / "out")]
    assert cli.main(["calibrate", *arguments, *output]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bon-gateway: ")
    assert message in err


def test_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "which strategy to serve" in capsys.readouterr().out
