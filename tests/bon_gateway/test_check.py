"""``bon-gateway check`` against real upstreams, well and otherwise."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import yaml

from bon_gateway.testing.judges import FakeJudge
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream

KEY = "UPSTREAM_KEY"


def tree(policy: str, reward: str, **keys: Any) -> dict[str, Any]:
    return {
        "policies": {"p": {"type": "vllm", "urls": [policy], **keys}},
        "rewards": {"r": {"type": "reward_server", "urls": [reward], **keys}},
        "models": {"a": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": 2}}},
    }


async def check(folder: Path, settings: dict[str, Any], **environ: str) -> tuple[int, list[str]]:
    """The exit code, and what was said on either stream."""
    config = folder / "gateway.yaml"
    config.write_text(yaml.safe_dump(settings))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bon_gateway", "check", "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environ},
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, said.decode().splitlines()


async def test_all_is_well(tmp_path: Path) -> None:
    async with FakeUpstream(api_key="secret") as up:
        settings = tree(up.url, up.url, api_key_env=KEY)
        code, lines = await check(tmp_path, settings, **{KEY: "secret\n"})
    place = f"127.0.0.1:{up.port}"
    assert (code, lines) == (0, [f"policies.p: {place}: ok", f"rewards.r: {place}: ok"])
    assert {call.path for call in up.calls} == {"/v1/chat/completions", "/v1/score"}


async def test_verifiers_answer(tmp_path: Path) -> None:
    async with FakeUpstream() as up, FakeUpstream(api_key="other") as locked:
        settings = tree(up.url, up.url)
        hook = {"type": "http", "url": f"{up.url}/verify"}
        down = {**hook, "name": "down", "url": "http://127.0.0.1:1/verify"}
        settings["models"]["a"]["verifier"] = [{"type": "length", "max": 3}, hook, down]
        own = {"type": "http", "url": f"{locked.url}/verify"}
        settings["rewards"]["checks"] = {"type": "verifiers", "verifiers": [own]}
        short = {"type": "length", "max": 3}
        settings["rewards"]["local"] = {"type": "verifiers", "verifiers": [short]}
        code, lines = await check(tmp_path, settings)
    assert code == 1
    assert lines[2:] == [
        f"models.a.verifier.1: 127.0.0.1:{up.port}/verify: ok",
        (
            "models.a.verifier.2: 127.0.0.1:1/verify: No connection to the upstream"
            " (ConnectionRefusedError)."
        ),
        (
            f"rewards.checks.verifiers.0: 127.0.0.1:{locked.port}/verify: The upstream failed: it"
            " refused the gateway's key (401)."
        ),
        "rewards.local: runs in the gateway's process; not tried",
    ]


async def test_a_label_that_the_model_lacks(tmp_path: Path) -> None:
    async with FakeUpstream() as up:
        settings = tree(up.url, up.url)
        member = {"reward": "r", "label": "nice"}
        settings["models"]["a"] |= {"reward": None, "rewards": [member]}
        code, lines = await check(tmp_path, settings)
    assert code == 1
    assert "has no label 'nice', which an ensemble reads; it has none" in lines[1]


async def test_an_ensemble_is_as_well_as_its_members(tmp_path: Path) -> None:
    async with FakeUpstream() as up:
        settings = tree(up.url, up.url)
        members = [{"reward": "r"}, {"reward": "s"}]
        settings["rewards"] |= {
            "s": settings["rewards"]["r"],
            "both": {"type": "ensemble", "members": members},
        }
        code, lines = await check(tmp_path, settings)
    assert code == 0
    assert [line.split(":")[0] for line in lines] == ["policies.p", "rewards.r", "rewards.s"]


async def test_a_judge_is_asked_one_real_question(tmp_path: Path) -> None:
    async with FakeUpstream() as up, FakeUpstream() as judge:
        settings = tree(up.url, up.url)
        settings["rewards"]["r"] = {"type": "judge", "urls": [judge.url], "model": "fake"}
        judge.script = FakeJudge(lambda prompt: {"U": 1.0})
        assert (await check(tmp_path, settings))[0] == 0
        assert [call.path for call in judge.calls] == ["/v1/chat/completions"]
        judge.script = FakeJudge(lambda prompt: {"U": 1.0}, logprobs=False)
        code, lines = await check(tmp_path, settings)
        assert "it gives no log-probabilities of its verdict" in lines[1]
        judge.script = FakeJudge(lambda prompt: None)
        unread, told = await check(tmp_path, settings)
    assert code == unread == 1
    assert told[1] == (
        f"rewards.r: 127.0.0.1:{judge.port}: no verdict on a test answer: the letters of a verdict"
        " are too unlikely in its reply, see least_mass: 'Well'"
    )


async def test_a_budget_that_is_small_is_a_note(tmp_path: Path) -> None:
    async with FakeUpstream() as up, FakeUpstream(FakeJudge(lambda prompt: {"U": 1.0})) as judge:
        settings = tree(up.url, up.url)
        settings["rewards"]["r"] = {"type": "judge", "urls": [judge.url], "budget": {"calls": 1}}
        code, lines = await check(tmp_path, settings)
    assert code == 0
    [note] = lines[2:]
    assert note == (
        "note: models.a draws 2 candidates, and rewards.r.budget.calls (1) is enough for 1;"
        " 2 answers take 2 calls"
    )


async def test_a_judge_prompt_that_cannot_be_used_is_found(tmp_path: Path) -> None:
    (tmp_path / "judge.jinja").write_text("{{ answer }}\n{{ oops }}")
    settings = tree("http://127.0.0.1:1", "http://127.0.0.1:1")
    settings["rewards"]["r"] |= {"type": "judge", "prompt": str(tmp_path / "judge.jinja")}
    code, lines = await check(tmp_path, settings)
    assert code == 2
    assert "rewards.r.prompt" in lines[0]
    assert "oops is no variable" in lines[0]


async def test_a_key_that_is_refused_is_named_and_not_shown(tmp_path: Path) -> None:
    async with FakeUpstream(api_key="secret") as up:
        settings = tree(up.url, up.url, api_key_env=KEY)
        code, lines = await check(tmp_path, settings, **{KEY: "wrong-key"})
    assert code == 1
    assert len(lines) == 2
    assert all("it refuses the key (401)" in line for line in lines)
    assert "wrong-key" not in "".join(lines)


async def test_each_upstream_has_a_line_of_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = unused.getsockname()[1]
    async with FakeUpstream() as up, FakeUpstream() as sick:
        sick.healthy = False
        settings = tree(up.url, up.url, model="other")
        settings["policies"]["p"]["urls"] += [f"http://127.0.0.1:{nobody}", sick.url]
        del settings["rewards"]["r"]["model"]
        code, lines = await check(tmp_path, settings)
    assert code == 1
    assert lines[0] == f"policies.p: 127.0.0.1:{up.port}: it does not serve 'other', but: fake"
    assert lines[1].startswith(f"policies.p: 127.0.0.1:{nobody}: health (/health): ")
    assert lines[2].startswith(f"policies.p: 127.0.0.1:{sick.port}: health (/health): ")
    assert "503" in lines[2]
    assert lines[3:] == [f"rewards.r: 127.0.0.1:{up.port}: ok"]


async def test_a_reward_that_is_no_number_and_an_answer_that_fails(tmp_path: Path) -> None:
    def boom(_: Call) -> Step:
        return Step(status=500, error={"message": "boom"})

    async with (
        FakeUpstream(lambda _: Step(reward=float("nan"))) as numberless,
        FakeUpstream(boom) as broken,
    ):
        code, lines = await check(tmp_path, tree(broken.url, numberless.url))
    assert code == 1
    assert "first call (/v1/chat/completions): " in lines[0]
    assert "first call (/v1/score): " in lines[1]


async def test_a_mix_is_asked_only_for_the_models_that_it_adds(tmp_path: Path) -> None:
    async with FakeUpstream(adapters=("lora",)) as up:
        settings = tree(up.url, up.url, model="fake")
        of = [{"policy": "p", "name": name, "model": name} for name in ("lora", "gone")]
        settings["policies"]["mix"] = {"type": "variants", "of": [{"policy": "p"}, *of]}
        del settings["rewards"]["r"]["model"]
        code, lines = await check(tmp_path, settings)
    place = f"127.0.0.1:{up.port}"
    assert code == 1
    assert sorted(lines) == [
        f"policies.mix: {place}: it does not serve 'gone', but: fake, lora",
        f"policies.mix: {place}: ok",
        f"policies.p: {place}: ok",
        f"rewards.r: {place}: ok",
    ]


async def test_a_name_behind_which_there_are_addresses(tmp_path: Path) -> None:
    async with FakeUpstream() as up:
        settings = tree(f"http://localhost:{up.port}", up.url)
        settings["policies"]["p"]["resolve"] = "addresses"
        settings["rewards"]["r"].update(urls=["http://no-such.invalid:1"], resolve="addresses")
        code, lines = await check(tmp_path, settings)
    assert code == 1
    assert f"policies.p: 127.0.0.1:{up.port}: ok" in lines
    assert lines[-1].startswith("rewards.r: no-such.invalid:1: its name ")


async def test_settings_that_cannot_be_used_are_exit_code_two(tmp_path: Path) -> None:
    code, lines = await check(tmp_path, tree("http://h:99999", "http://h"))
    assert code == 2
    assert len(lines) == 1
