"""The command: what it says in this process, what it does as one of its own on the demo models."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from bon_gateway import cli, demo_models
from bon_gateway.compare.ask.demo import PROMPTS

ENVIRON = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bon_gateway", "compare", *arguments]


def bon(*arguments: str, timeout: float = 110) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env=ENVIRON,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "compare: --config: is required without --embedded and --url"),
        (
            ["--url", "http://127.0.0.1:9", "--model", "m"],
            "--url: --prompts: is required with --url",
        ),
        (["--trained", "x"], "--trained: goes with --embedded"),
        (["--embedded", "--trained", "/no"], "--trained: /no/policy is no folder of a model"),
        (["--embedded", "--tuned", "x=/no"], "--tuned: x: /no is no folder of a model"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml: cannot be read: No such file or directory"),
        (["--embedded", "--set", "seed"], "--set: seed: expected KEY=VALUE"),
        (["--embedded", "--set", "sed=1"], "--set: sed: unknown key; did you mean 'seed'?"),
        (["--embedded", "--tuned", "x"], "--tuned: x: expected NAME=FOLDER"),
        (["--tuned", "x=y"], "--tuned: goes with --embedded"),
        (["diff", "one"], "compare diff: expected OLD and NEW"),
        (["diff", "/no/a", "/no/b"], "/no/a: cannot be read: No such file or directory"),
        (["run", "folder"], "compare: folder: only diff takes folders"),
    ],
)
def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["compare", *arguments]) == 2
    assert capsys.readouterr() == ("", f"bon-gateway: {message}\n")


def test_an_arm_needs_an_address(tmp_path: Path) -> None:
    """As a process: its exit code is that of the function."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "hi"}\n')
    config = tmp_path / "c.yaml"
    tree = {
        "arms": {"base": {"model": "m"}},
        "prompts": {"file": str(tmp_path / "p.jsonl")},
        "output": str(tmp_path / "out"),
    }
    config.write_text(yaml.safe_dump(tree))
    done = bon("--config", str(config))
    assert done.returncode == 2
    assert done.stderr == ("bon-gateway: settings: arms.base.url: is required without --embedded\n")


def test_the_demo_models_from_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["--embedded", "--output", str(out), "--set", "prompts.limit=6"]
    assert cli.main(["compare", *arguments]) == 0
    printed = capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert [arm["n"] for arm in results["arms"]] == [1, 2, 4, 8, 1]
    assert [arm["name"] for arm in results["arms"] if arm["greedy"]] == ["greedy"]
    assert all(arm["answered"] == 6 for arm in results["arms"])
    # By the gold reward, which chose nothing, the oracle rises and random choice does not.
    assert results["primary"] == "gold"
    oracle = [point["oracle"]["value"] for point in results["curve"]]
    assert oracle == sorted(oracle)
    assert len({point["random"]["value"] for point in results["curve"]}) == 1
    assert results["curve"][-1]["quality"]["value"] > results["curve"][0]["quality"]["value"]
    assert "base-8" in printed
    assert str(out / "report.html") in printed
    assert cli.main(["compare", "diff", str(out), str(out)]) == 0
    results["arms"][0]["answered"] = 3
    (tmp_path / "worse.json").write_text(json.dumps(results))
    capsys.readouterr()
    assert cli.main(["compare", "diff", str(out), str(tmp_path / "worse.json")]) == 1
    assert "1 of" in capsys.readouterr().out


def test_a_demo_run_from_one_command(tmp_path: Path) -> None:
    """The shipped models stand for those of a run; the tuned policy is the base policy again, so
    nothing can be won by it but the reward model's work."""
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(demo_models.policy_path(), run / "policy")
    shutil.copytree(demo_models.policy_path(), run / "dpo")
    shutil.copytree(demo_models.reward_path(), run / "reward")
    (run / "data").mkdir()
    shutil.copy(PROMPTS, run / "data" / "held-out-prompts.jsonl")
    (run / "figures.json").write_text(json.dumps({"seconds": {"pairs": 600, "dpo": 1200}}))
    limit = ("--set", "prompts.limit=5")
    arguments = ["--embedded", "--trained", str(run), "--output", str(out), *limit]
    assert cli.main(["compare", *arguments]) == 0
    results = json.loads((out / "results.json").read_text())
    arms = {arm["name"]: arm for arm in results["arms"]}
    assert results["primary"] == "gold"
    assert arms["dpo"]["quality"]["gold"] == arms["base-1"]["quality"]["gold"]
    assert arms["dpo"]["cost"] == arms["base-1"]["cost"]
    once, best_of_4 = results["tuned"]
    assert (once["arm"], best_of_4["arm"]) == ("dpo", "dpo-best-of-4")
    assert once["training_money"] == pytest.approx(1800 / 3600 * 2.0)
    pictures = {path.stem for path in (out / "pictures").glob("*.png")}
    assert pictures >= {"quality-by-cost", "latency"}


def test_an_interrupt_keeps_what_was_measured(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--embedded", "--output", str(out), "--set", "load.repeats=50"]
    records = out / "records.jsonl"
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRON
    )
    try:
        give_up = time.monotonic() + 90
        while not (records.exists() and records.read_bytes().count(b"\n") >= 60):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < give_up
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, stderr
    assert "The run was stopped early" in stdout
    results = json.loads((out / "results.json").read_text())
    assert results["complete"] is False
    assert results["planned"] == 5 * 60 * 50
    kept = [json.loads(line)["key"]["phase"] for line in records.read_text().splitlines()]
    assert results["measured"] <= kept.count("closed")
    assert (out / "report.html").exists()
