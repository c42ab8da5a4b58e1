"""From a running gateway to settings: its candidates are recorded first."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bon_gateway import cli
from bon_gateway.app import create_app
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.judges import FakeJudge
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.loop_server import serving_app


def answered(call: Call) -> Step:
    """Every candidate has a reward of its own, which stands in its text."""
    rng = random.Random(f"{call.body.get('seed')} {call.candidate}")
    return Step(text=f"answer {rng.random():.6f}", tokens=rng.randint(3, 9))


def scored(call: Call) -> Step:
    *_, last = call.body["messages"][-1]["content"].split()
    return Step(reward=float(last) if last[0].isdecimal() else 0.0)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    def script(call: Call) -> Step:
        return answered(call) if call.path == "/v1/chat/completions" else scored(call)

    async with FakeUpstream(script) as upstream:
        tree = {
            "policies": {"p": {"type": "vllm", "urls": [upstream.url], "model": "fake"}},
            "rewards": {"r": {"type": "vllm_classify", "urls": [upstream.url], "model": "fake"}},
            "models": {
                "mine": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": 8}},
                "fixed": {
                    "policy": "p",
                    "reward": "r",
                    "strategy": {"type": "best_of_n", "n": 8},
                    "allow_override": False,
                },
            },
        }
        app = create_app(Settings.model_validate(tree), environ={})
        async with serving_app(app, interface="asgi3", lifespan="on") as address:
            yield address


async def calibrate(folder: Path, url: str, *more: str, model: str = "mine") -> int:
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"prompt {i}"}) + "\n" for i in range(12)))
    arguments = ["--url", url, "--model", model, "--prompts", str(file), "--n", "8"]
    output = ["--output", str(folder / "out"), "--set", "resamples=100", *more]
    return await asyncio.to_thread(cli.main, ["calibrate", *arguments, *output])


async def test_from_a_running_gateway_to_settings(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await calibrate(tmp_path, url, "--set", "ask.sampling.max_tokens=9") == 0
    folder = tmp_path / "out"
    lines = [json.loads(line) for line in (folder / "pools.jsonl").read_text().splitlines()]
    assert len(lines) == 12
    assert sorted(line["messages"][0]["content"] for line in lines) == sorted(
        f"prompt {i}" for i in range(12)
    )
    for line in lines:
        assert line["sampling"] == {"max_tokens": 9}
        assert len(line["candidates"]) == 8
        for one in line["candidates"]:
            assert one["reward"] == float(one["message"]["content"].split()[-1])
    # Requests differ in their seeds, so that no two prompts share their draws.
    assert len({line["seed"] for line in lines}) == 12
    results = json.loads((folder / "results.json").read_text())
    assert (results["prompts"], results["n"], results["model"]) == (12, 8, "mine")
    assert "models:\n  mine:\n    strategy:\n" in (folder / "strategy.yaml").read_text()
    assert cli.main(["calibrate", "--pools", str(folder / "pools.jsonl"), "--output",
                     str(tmp_path / "again"), "--set", "resamples=100"]) == 0  # fmt: skip
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["rows"] == results["rows"]
    capsys.readouterr()


async def test_judged_answers_are_not_overwritten(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await calibrate(tmp_path, url) == 0
    pools = tmp_path / "out" / "pools.jsonl"
    lines = [json.loads(line) for line in pools.read_text().splitlines()]
    lines[3]["candidates"][2]["gold"] = 0
    judged = "".join(json.dumps(line) + "\n" for line in lines)
    pools.write_text(judged)
    assert await calibrate(tmp_path, url) == 2
    assert pools.read_text() == judged
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"bon-gateway: settings: output: {pools} holds answers with gold, which would be lost:"
        f" calibrate on it with --pools {pools}, or write elsewhere with --output"
    )


async def test_earlier_answers_stay_if_no_request_is_answered(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await calibrate(tmp_path, url) == 0
    pools = tmp_path / "out" / "pools.jsonl"
    earlier = pools.read_text()
    assert await calibrate(tmp_path, url, model="other") == 2
    assert pools.read_text() == earlier
    assert await calibrate(tmp_path, url, "--seed", "5") == 0
    assert pools.read_text() != earlier
    capsys.readouterr()


@pytest.mark.parametrize(
    ("status", "more", "reason"),
    [
        (401, (), "it wants a key (401): name the key's variable with --api-key-env"),
        (401, ("--api-key-env", "MY_KEY"), "it refused the key in MY_KEY (401)"),
        (429, (), "it has no room or no budget left for the key (429)"),
    ],
)
async def test_why_a_gateway_does_not_answer(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    more: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.setenv("MY_KEY", "wrong")
    async with FakeUpstream(lambda _: Step(status=status)) as upstream:
        assert await calibrate(tmp_path, upstream.url, *more) == 2
    told = f"every request failed, the last with: {reason}"
    assert capsys.readouterr().err.splitlines()[-1] == f"bon-gateway: {upstream.url}: {told}"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("fixed", "every request failed, the last with: "),
        ("other", "it serves no model 'other', or it is no bon-gateway (404)"),
    ],
)
async def test_a_gateway_that_refuses(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str], model: str, reason: str
) -> None:
    assert await calibrate(tmp_path, url, model=model) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert err.splitlines()[-1].startswith(f"bon-gateway: {url}: ")


async def test_an_endpoint_that_is_no_gateway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeUpstream(lambda _: Step(text="hi")) as upstream:
        assert await calibrate(tmp_path, upstream.url, model="fake") == 2
    assert "list no candidates: is it a bon-gateway?" in capsys.readouterr().err


async def test_what_fails_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = best_of_n(tokens=5, scored=6)

    def script(call: Call) -> Step:
        if call.body["messages"][0]["content"] == "prompt 3":
            return Step(status=400, error={"message": "too long"})
        return good(call)

    async with FakeUpstream(script) as upstream:
        assert await calibrate(tmp_path, upstream.url, model="fake") == 0
    err = capsys.readouterr().err
    assert "1 of 12 requests failed, the last with: " in err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["prompts"] == 11


async def test_a_reward_that_only_compares_is_recorded_as_such(tmp_path: Path) -> None:
    judging = FakeJudge(lambda _: {"A": 0.6, "B": 0.3})
    async with FakeUpstream(answered) as upstream, FakeUpstream(judging) as judge:
        judges = {"type": "judge", "urls": [judge.url], "model": "judge"}
        strategy = {"type": "best_of_n", "n": 8}
        tree = {
            "policies": {"p": {"type": "vllm", "urls": [upstream.url], "model": "fake"}},
            "rewards": {"pw": {**judges, "method": {"type": "pairwise"}}, "j": judges},
            "models": {
                "mine": {"policy": "p", "rewards": [{"reward": "pw"}], "strategy": strategy},
                "other": {"policy": "p", "reward": "j", "strategy": strategy},
            },
        }
        app = create_app(Settings.model_validate(tree), environ={})
        async with serving_app(app, interface="asgi3", lifespan="on") as address:
            for model, compares in (("mine", True), ("other", False)):
                assert await calibrate(tmp_path, address, model=model) == 0
                lines = (tmp_path / "out" / "pools.jsonl").read_text().splitlines()
                found = [json.loads(one).get("reward_compares", False) for one in lines]
                assert found == [compares] * 12
                report = (tmp_path / "out" / "report.md").read_text()
                assert ("only compares the answers of one call" in report) is compares
