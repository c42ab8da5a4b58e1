"""Rewards over HTTP: equal to those of the folder behind the server, or a clear end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from bon_gateway.testing.script import Call, Script, Step
from tests.trainers.conftest import Serve
from tests.trainers.scoring_service import Start, gateway, reward_server
from tests.trainers.small import reward_path
from trainers.base.data import Conversation, Message
from trainers.base.errors import RunError, SettingsError
from trainers.rewards.opening import open_scorer
from trainers.rewards.remote import RemoteScorer
from trainers.rewards.settings import RewardEndpoint

PROMPTS = [
    Conversation([Message(role="user", content=text)])
    for text in ("name two toys for a bear", "how do i break the big and old kite of my bear?")
]
TEXTS = ("Try ball and kite.", "Ugh.", "Hello, dear! Try ball and kite. Enjoy!")
ASKED = [PROMPTS[i % 2].said(TEXTS[i % 3]) for i in range(6)]


def endpoint(url: str, **changes: Any) -> RewardEndpoint:
    values = {"type": "reward_server", "url": url, "retries": 0, **changes}
    return RewardEndpoint.model_validate(values)


def scoring(rewards: list[Any]) -> Script:
    """The same rewards for every item."""

    def script(call: Call) -> Step:
        results = [{"rewards": rewards} for _ in call.body["items"]]
        return Step(raw=orjson.dumps({"results": results}))

    return script


def test_a_reward_server_gives_what_its_folder_gives(start_app: Start) -> None:
    url = start_app(reward_server(reward_path()))
    expected = open_scorer(reward_path(), batch_size=2).score(ASKED)
    for answers in (1, 2, 64):
        found = open_scorer(endpoint(url, answers_per_request=answers)).score(ASKED)
        assert found == pytest.approx(expected, abs=1e-4)
    assert len(set(expected)) == 6


def test_a_gateway_gives_what_its_reward_gives(start_app: Start) -> None:
    behind = {"type": "reward_server", "urls": [start_app(reward_server(reward_path()))]}
    hook = {"type": "hook", "function": "tests.trainers.rewards.test_remote:length"}
    url = start_app(gateway({"model": behind, "length": hook}))
    expected = open_scorer(reward_path(), batch_size=2).score(ASKED)
    scorer = open_scorer(endpoint(url, model="model"))
    assert scorer.score(ASKED) == pytest.approx(expected, abs=1e-4)
    lengths = [float(len(one.messages[-1]["content"])) for one in ASKED]
    assert open_scorer(endpoint(url, model="length")).score(ASKED) == lengths
    with pytest.raises(RunError, match=r"/v1/score: status 404: the reward 'none' does not exist"):
        open_scorer(endpoint(url, model="none")).score(ASKED)


def length(messages: list[Any], completions: list[Any]) -> list[float]:
    return [float(len(one["content"])) for one in completions]


def test_answers_to_a_prompt_come_in_one_item(serve: Serve) -> None:
    upstream = serve(scoring([1.0, 2.0, 3.0]))
    scorer = RemoteScorer(endpoint(upstream.url, model="judge", answers_per_request=2))
    assert scorer.score(ASKED) == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    assert [len(call.body["items"]) for call in upstream.calls] == [1, 1]
    assert {call.body["model"] for call in upstream.calls} == {"judge"}
    assert "missing" not in upstream.calls[0].body
    assert scorer.rewards([]) == []
    assert len(upstream.calls) == 2


def test_a_server_that_is_down_ends_the_run_with_its_address() -> None:
    scorer = RemoteScorer(endpoint("http://127.0.0.1:1", retries=1, backoff_s=0))
    with pytest.raises(RunError, match=r"http://127.0.0.1:1/v1/score: no answer after 2 attempts"):
        scorer.score(ASKED)


def test_it_asks_again(serve: Serve) -> None:
    answers = iter((503, 500))

    def script(call: Call) -> Step:
        status = next(answers, 200)
        return Step(status=status) if status != 200 else scoring([1.0])(call)

    scorer = RemoteScorer(endpoint(serve(script).url, retries=2, backoff_s=0))
    assert scorer.score(ASKED[:1]) == [1.0]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"results": []}', "no results for 1 prompts"),
        (b"[]", "no JSON object"),
        (b'{"results": [{"rewards": [1e999]}]}', "no JSON|reward inf"),
    ],
)
def test_another_answer_ends_the_run(serve: Serve, raw: bytes, said: str) -> None:
    scorer = RemoteScorer(endpoint(serve(lambda call: Step(raw=raw)).url))
    with pytest.raises(RunError, match=said):
        scorer.score(ASKED[:1])


def test_an_abstention_ends_the_run_unless_a_reward_stands_for_it(serve: Serve) -> None:
    upstream = serve(scoring([2.0, None]))
    asked = [PROMPTS[0].said(text) for text in TEXTS[:2]]
    with pytest.raises(RunError, match="gave it no reward"):
        RemoteScorer(endpoint(upstream.url)).score(asked)
    scorer = RemoteScorer(endpoint(upstream.url, missing=-1.5))
    assert scorer.score(asked) == [2.0, -1.5]
    assert upstream.calls[-1].body["missing"] == "null"


def test_the_key_comes_from_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = serve(scoring([1.0]), api_key="secret-0123456789")
    with_key = endpoint(upstream.url, api_key_env="JUDGE_KEY")
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(SettingsError, match="JUDGE_KEY is not set"):
        RemoteScorer(with_key)
    monkeypatch.setenv("JUDGE_KEY", "secret-0123456789")
    assert RemoteScorer(with_key).score(ASKED[:1]) == [1.0]


VERIFIER = {"type": "verifiers", "verifiers": [{"type": "numeric"}]}


def test_a_gateways_verifier_finds_the_expected_answer(start_app: Start) -> None:
    url = start_app(gateway({"right": VERIFIER}))
    asked = [
        replace(PROMPTS[place % 2], metadata={"reference": expected}).said(said)
        for place, (expected, said) in enumerate(
            [("42", "It is 42."), ("7", "It is 42."), ("42", "7"), ("7", "So 7")]
        )
    ]
    assert open_scorer(endpoint(url, model="right")).score(asked) == [1.0, 0.0, 0.0, 1.0]
    # The same answer to the same prompt, and another expected one.
    same = [replace(asked[0], metadata={"reference": text}) for text in ("42", "43")]
    assert open_scorer(endpoint(url, model="right")).score(same) == [1.0, 0.0]
    with pytest.raises(RunError, match="status 422"):
        open_scorer(endpoint(url, model="right")).score(ASKED[:1])


def test_a_reward_server_reads_no_metadata(start_app: Start) -> None:
    scorer = open_scorer(endpoint(start_app(reward_server(reward_path()))))
    with_metadata = [replace(one, metadata={"reference": str(i)}) for i, one in enumerate(ASKED)]
    assert scorer.score(with_metadata) == pytest.approx(scorer.score(ASKED), abs=1e-6)
