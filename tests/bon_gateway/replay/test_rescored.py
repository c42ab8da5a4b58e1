"""Recorded answers scored anew."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.replay.rescored import SCORES
from bon_gateway.replay.run import run
from bon_gateway.testing.judges import FakeJudge, fenced
from bon_gateway.testing.script import Call, Step, fake_reward
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.calibrate.kit import calibrated
from tests.bon_gateway.replay.kit import candidate, candidates, line, settings_of, write

BEST = {"best": {"type": "best_of_n", "n": 2}}
DIGITS = {"type": "hook", "function": "tests.bon_gateway.replay.test_rescored:reversed_digits"}


def reversed_digits(messages: Any, completions: Any) -> list[float]:
    """The opposite of the recorded rewards, so that another answer wins."""
    return [-float(one["content"].rsplit(maxsplit=1)[-1]) for one in completions]


def broken(messages: Any, completions: Any) -> list[float]:
    raise KeyError("x")


@pytest.fixture
def pools(tmp_path: Path) -> Path:
    golds = [1.0, 0.0]
    drawn = [candidates([0.0, 1.0], golds=golds) for _ in range(3)]
    return write(tmp_path / "p.jsonl", [line(one, f"prompt {i}") for i, one in enumerate(drawn)])


def test_another_reward_chooses(pools: Path) -> None:
    served = run(settings_of(pools, BEST), lambda _: None)
    told: list[str] = []
    anew = run(settings_of(pools, BEST, score_by={"digits": DIGITS}), told.append)
    assert [row.gold.value for row in (served.rows[0], anew.rows[0]) if row.gold] == [0.0, 1.0]
    assert anew.setup["Scored by digits"] == "6 answers, 0 tokens read by the reward model"
    assert any("scoring the answers of 3 requests by digits" in one for one in told)


def test_several_are_joined(pools: Path) -> None:
    score_by = {"digits": DIGITS, "again": DIGITS}
    joined = [{"reward": "digits", "weight": 3}, {"reward": "rm"}]
    results = run(settings_of(pools, BEST, score_by=score_by, rewards=joined), lambda _: None)
    assert results.rows[0].gold is not None
    assert results.rows[0].gold.value == 1.0
    with pytest.raises(ValueError, match="say which of score_by choose"):
        settings_of(pools, BEST, score_by=score_by)


async def test_answers_go_together_and_are_asked_for_once(pools: Path) -> None:
    async with FakeUpstream() as upstream:
        sections = {"server": {"type": "reward_server", "urls": [upstream.url]}}
        settings = settings_of(pools, BEST, score_by=sections)

        def asked() -> list[list[str]]:
            items = [c.body["items"][0] for c in upstream.calls if c.path == "/v1/score"]
            prompts = [i for i in items if i["messages"][0]["content"].startswith("prompt")]
            return [[one["content"] for one in item["completions"]] for item in prompts]

        first = await asyncio.to_thread(run, settings, lambda _: None)
        assert asked() == [["answer 0", "answer 1"]] * 3
        again = await asyncio.to_thread(run, settings, lambda _: None)
        assert len(asked()) == 3
        assert again.setup == first.setup
        # A line that was cut off is asked for again.
        file = settings.output / SCORES
        lines = file.read_bytes().splitlines(keepends=True)
        assert {len(json.loads(one)["rewards"]) for one in lines} == {2}
        assert b"answer" not in file.read_bytes()
        file.write_bytes(b"".join(lines[:2]) + lines[2][:20])
        await asyncio.to_thread(run, settings, lambda _: None)
        assert len(asked()) == 4
        await asyncio.to_thread(run, settings, lambda _: None)
        assert len(asked()) == 4


async def test_what_fails_is_told_and_asked_for_again(pools: Path) -> None:
    down = True

    def script(call: Call) -> Step:
        prompt = call.body["items"][0]["messages"][0]["content"]
        if down and prompt == "prompt 1":
            return Step(status=500)
        rewards = [fake_reward(one["content"]) for one in call.body["items"][0]["completions"]]
        counts = [1] * len(rewards)
        return Step(raw=json.dumps({"results": [{"rewards": rewards, "tokens": counts}]}).encode())

    async with FakeUpstream(script) as upstream:
        sections = {"server": {"type": "reward_server", "urls": [upstream.url]}}
        settings = settings_of(pools, BEST, score_by=sections)
        first = await asyncio.to_thread(run, settings, lambda _: None)
        told = first.setup["Scored by server"]
        assert told == (
            "4 answers, 4 tokens read by the reward model, 1 calls failed with reward_unavailable"
        )
        down = False
        second = await asyncio.to_thread(run, settings, lambda _: None)
        assert second.setup["Scored by server"] == "6 answers, 6 tokens read by the reward model"


async def test_an_edited_template_is_asked_with_anew(pools: Path, tmp_path: Path) -> None:
    template = tmp_path / "judge.jinja"
    template.write_text("One: {{ conversation }} {{ answer }}")
    judging = FakeJudge(lambda _: {"7": 1.0})
    async with FakeUpstream(judging) as judge:
        section = {"type": "judge", "urls": [judge.url], "prompt": str(template)}
        settings = settings_of(pools, BEST, score_by={"judge": section})
        for beginning, times in (("One", 1), ("One", 1), ("Two", 2)):
            template.write_text(f"{beginning}: {{{{ conversation }}}} {{{{ answer }}}}")
            await asyncio.to_thread(run, settings, lambda _: None)
            asked = [one for one in judging.prompts if "prompt" in one]
            assert len(asked) == 6 * times
            assert asked[-1].startswith(beginning)


def test_one_that_scores_nothing_ends_the_command(pools: Path) -> None:
    hook = {**DIGITS, "function": "tests.bon_gateway.replay.test_rescored:broken"}
    with pytest.raises(SettingsError, match="it scored nothing; the last call failed"):
        run(settings_of(pools, BEST, score_by={"x": hook}), lambda _: None)


async def test_a_judge_calibrates_and_says_what_it_cost(tmp_path: Path) -> None:
    """It likes even numbers, and abstains once."""

    def verdict(prompt: str) -> dict[str, float] | None:
        said = fenced(prompt)[-1].rsplit(maxsplit=1)[-1]
        if said == "3" and "prompt 0" in prompt:
            return None
        return {"U": 0.9, "A": 0.1} if said in "024" else {"U": 0.1, "A": 0.9}

    drawn = [candidate(index) for index in range(6)]
    path = write(tmp_path / "p.jsonl", [line(drawn, f"prompt {i}") for i in range(4)])
    async with FakeUpstream(FakeJudge(verdict)) as upstream:
        judge = {"type": "judge", "urls": [upstream.url], "model": "judge"}
        results = await asyncio.to_thread(
            calibrated, path, score_by={"judge": judge}, gold_reward="judge", gold="labelled"
        )
        assert results.over_optimisation is not None
        told = results.setup["Scored by judge"]
        assert "24 questions to a judge" in told
        assert "1 answers got no reward" in told
        own = await asyncio.to_thread(calibrated, path, score_by={"judge": judge})
    assert own.setup["Chosen by"] == "the reward judge"
    assert own.setup["Scored by judge"] == told
