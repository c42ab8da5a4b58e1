"""A chat model judges, from the settings to the answer and the metrics: policy and judge are two
servers on real sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from bon_gateway.app import create_app
from bon_gateway.backends.reward.judge.settings import JudgeSettings
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.judges import Chances, FakeJudge, fenced
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import RewardRequest
from tests.loop_server import serving_app
from tests.waiting import until

N = 4
TEXTS = ("a dull answer", "a fine answer", "the secret-best answer", "a poor answer")
GRADES: dict[str, Chances] = {
    TEXTS[0]: {"C": 1.0},
    TEXTS[1]: {"D": 0.6, "E": 0.4},
    TEXTS[2]: {"D": 0.4, "E": 0.6},
    TEXTS[3]: {"A": 1.0},
}
KEYS = {"POLICY_KEY": "sk-policy", "JUDGE_KEY": "sk-judge"}
QUESTION = "a-prompt-that-must-not-leak"


def generating(call: Call) -> Step:
    return Step(text=TEXTS[(call.candidate or 0) % N])


def grading(prompt: str) -> Chances:
    return GRADES.get(fenced(prompt)[0], {"C": 1.0})


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)


class Asked:
    """A gateway, its policy and its judge."""

    def __init__(self, http: httpx.AsyncClient, policy: FakeUpstream, judge: FakeUpstream) -> None:
        self.http, self.policy, self.judge = http, policy, judge

    async def ask(self, **bon: Any) -> httpx.Response:
        messages = [{"role": "user", "content": QUESTION}]
        body = {"model": "best", "messages": messages, **({"bon": bon} if bon else {})}
        return await self.http.post("/v1/chat/completions", json=body)

    async def metric(self, line: str) -> float:
        text = (await self.http.get("/metrics")).text
        found = [one for one in text.splitlines() if one.startswith(line)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0


@asynccontextmanager
async def judging(**settings: Any) -> AsyncIterator[Asked]:
    async with (
        FakeUpstream(generating, api_key=KEYS["POLICY_KEY"]) as policy,
        FakeUpstream(FakeJudge(grading, cached=2), api_key=KEYS["JUDGE_KEY"]) as judge,
    ):
        fallback = settings.pop("fallback", "first")
        probing = {"probe_interval_s": 0.05, "connect_timeout_s": 2}
        tree = {
            "policies": {
                "p": {
                    "type": "vllm",
                    "fan_out": "separate",
                    "urls": [policy.url],
                    "api_key_env": "POLICY_KEY",
                    **probing,
                }
            },
            "rewards": {
                "j": {
                    "type": "judge",
                    "urls": [judge.url],
                    "api_key_env": "JUDGE_KEY",
                    "method": {"type": "pointwise", "levels": 5},
                    **probing,
                    **settings,
                }
            },
            "models": {
                "best": {
                    "policy": "p",
                    "reward": "j",
                    "strategy": {"type": "best_of_n", "n": N, "fallback": fallback},
                }
            },
        }
        app = create_app(Settings.model_validate(tree))
        async with (
            serving_app(app) as url,
            httpx.AsyncClient(base_url=url, timeout=20, verify=False) as http,
        ):
            await until(app.state.gateway.ready, what="all are up")
            yield Asked(http, policy, judge)


async def test_the_best_judged_answer_wins_and_its_cost_is_told() -> None:
    async with judging() as asked:
        before = len(asked.judge.calls)
        answer = (await asked.ask()).json()
        assert answer["choices"][0]["message"]["content"] == TEXTS[2]
        bon = answer["bon"]
        rewards = [candidate["reward"] for candidate in bon["candidates"]]
        assert rewards == pytest.approx([0.5, 3.4 / 4, 3.6 / 4, 0])
        assert bon["degraded"] is None
        cost = bon["usage"]["judge"]
        calls = asked.judge.calls[before:]
        words = sum(len(str(c.body["messages"][0]["content"]).split()) for c in calls)
        assert (cost["calls"], cost["completion_tokens"]) == (N, N)
        assert (cost["prompt_tokens"], cost["cached_tokens"]) == (words, 2 * N)
        assert cost["abstentions"] == 0
        assert await asked.metric('bon_judge_calls_total{kind="asked",reward="j"}') == N
        assert await asked.metric('bon_judge_tokens_total{kind="prompt",reward="j"}') == words
        assert await asked.metric('bon_judge_tokens_total{kind="cached",reward="j"}') == 2 * N


async def test_each_key_goes_to_its_own_server() -> None:
    async with judging() as asked:
        await asked.ask()
        for server, key in ((asked.policy, "sk-policy"), (asked.judge, "sk-judge")):
            assert {call.headers["authorization"] for call in server.calls} == {f"Bearer {key}"}


async def test_an_answer_without_a_verdict_cannot_win_and_it_is_marked() -> None:
    async with judging() as asked:
        asked.judge.script = FakeJudge(
            lambda prompt: None if fenced(prompt) == [TEXTS[2]] else grading(prompt)
        )
        answer = (await asked.ask()).json()
        assert answer["choices"][0]["message"]["content"] == TEXTS[1]
        assert answer["bon"]["degraded"] == "reward_abstained"
        assert answer["bon"]["candidates"][2].get("reward") is None
        assert answer["bon"]["usage"]["judge"]["abstentions"] == 1
        assert await asked.metric('bon_judge_calls_total{kind="abstained",reward="j"}') == 1


async def test_a_judge_that_says_nothing_leaves_the_choice_to_the_fallback() -> None:
    """The lowest index, and never by chance; or an error."""
    silent = FakeJudge(lambda prompt: None)
    async with judging() as asked:
        asked.judge.script = silent
        for _ in range(3):
            bon = (await asked.ask()).json()["bon"]
            assert (bon["winner"], bon["degraded"]) == (0, "reward_abstained")
    async with judging(fallback="error") as asked:
        asked.judge.script = silent
        refused = await asked.ask()
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "reward_abstained"


async def test_a_judge_that_is_down_is_marked_as_any_reward_model() -> None:
    async with judging() as asked:
        await asked.judge.stop()
        bon = (await asked.ask()).json()["bon"]
        assert (bon["winner"], bon["degraded"]) == (0, "reward_unavailable")


async def test_a_budget_leaves_answers_without_verdicts() -> None:
    async with judging(budget={"calls": 2}, at_once=1) as asked:
        bon = (await asked.ask()).json()["bon"]
        rewards = [candidate.get("reward") for candidate in bon["candidates"]]
        assert sum(reward is not None for reward in rewards) == 2
        assert bon["degraded"] == "reward_abstained"
        assert bon["usage"]["judge"]["calls"] == 2


async def test_a_client_that_leaves_cancels_all_calls_to_the_judge() -> None:
    async with judging() as asked:
        asked.judge.script = lambda call: Step(hold=asyncio.Event())
        task = asyncio.create_task(asked.ask())
        await until(lambda: asked.judge.running == N)
        task.cancel()
        await until(lambda: asked.judge.running == 0)
        assert asked.judge.aborted == N
        assert await asked.metric('bon_judge_calls_total{kind="asked",reward="j"}') == N


async def test_what_was_paid_before_a_call_is_cancelled_is_on_the_bill() -> None:
    hold = asyncio.Event()
    judge = FakeJudge(grading)
    async with FakeUpstream(judge) as upstream:
        method = {"type": "pointwise", "levels": 5}
        settings = {"type": "judge", "urls": [upstream.url], "method": method}
        reward = JudgeSettings.model_validate(settings).build(None)
        await reward.start()
        try:
            await until(reward.ready)
            asked = len(upstream.calls)
            upstream.script = lambda call: (
                judge(call) if call.ordinal < asked + 2 else Step(hold=hold)
            )
            request = RewardRequest([{"role": "user", "content": "?"}])
            answers = [{"role": "assistant", "content": text} for text in TEXTS]
            scoring = asyncio.create_task(reward.score(request, answers))
            await until(lambda: upstream.running == N - 2 and len(upstream.calls) == asked + N)
            scoring.cancel()
            await asyncio.gather(scoring, return_exceptions=True)
        finally:
            await reward.close()
    assert (request.bill.usage.calls, request.bill.usage.completion_tokens) == (N, 2)


async def test_no_text_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="bon_gateway")
    async with judging() as asked:
        for script in (
            FakeJudge(lambda prompt: None),
            lambda call: Step(status=500, error="boom"),
            lambda call: Step(status=400, error={"message": str(call.body), "code": 400}),
        ):
            asked.judge.script = script
            text = (await asked.ask()).text
            assert QUESTION not in text
    fields = [str(getattr(record, "fields", "")) for record in caplog.records]
    told = caplog.text + " ".join(fields)
    assert QUESTION not in told
    assert "secret-best" not in told
    assert "sk-judge" not in told
