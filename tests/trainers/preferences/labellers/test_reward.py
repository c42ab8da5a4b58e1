"""`bon-train label` by reward models."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from bon_gateway.demo_models import reward_path
from bon_gateway.testing.judges import FakeJudge, fenced
from bon_gateway.testing.script import Call, Step, fake_reward
from tests.trainers.conftest import Serve
from tests.trainers.preferences.helpers import (
    bot,
    read_lines,
    user,
)
from tests.trainers.preferences.labelling import (
    answers,
    label,
    report,
)
from tests.trainers.scoring_service import Start, gateway
from trainers.base.data import Conversation
from trainers.demo.model import save_untrained_policy
from trainers.demo.tokenizer import build_tokenizer
from trainers.preferences.labellers.reward import ABSTAINED, UNREADABLE
from trainers.rewards.one import score


def test_a_reward_model_in_this_process(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    save_untrained_policy(tokenizer, tmp_path / "policy", seed=0)
    torch.manual_seed(0)
    net = AutoModelForSequenceClassification.from_pretrained(tmp_path / "policy", num_labels=1)
    net.save_pretrained(tmp_path / "reward")
    tokenizer.save_pretrained(tmp_path / "reward")
    texts = ["Try ball and kite.", "Ugh.", "Hello, dear! Try ball."]
    answers(tmp_path, texts, texts[:2])
    labeller = {"type": "reward_model", "model": str(tmp_path / "reward"), "batch_size": 2}
    assert label(tmp_path, labeller, form="listwise") == 0
    lines = read_lines(tmp_path / "out.jsonl")
    expected = score(
        tmp_path / "reward", [Conversation([user("question 0"), bot(text)]) for text in texts], 1
    )
    assert [c["score"] for c in lines[0]["candidates"]] == pytest.approx(expected, abs=1e-5)
    assert len(lines[1]["candidates"]) == 2


def test_what_the_model_cannot_read_is_counted(tmp_path: Path) -> None:
    answers(tmp_path, ["Ugh.", "ball " * 600], ["Ugh.", "Try ball."])
    assert label(tmp_path, {"type": "reward_model", "model": str(reward_path())}) == 0
    assert len(read_lines(tmp_path / "out.jsonl")) == 1
    assert report(tmp_path)["dropped"] == {UNREADABLE: 1}


def test_a_reward_server(tmp_path: Path, serve: Serve) -> None:
    answers(tmp_path, ["a", "b", "c"])
    upstream = serve()
    labeller = {"type": "reward_server", "url": upstream.url, "model": "fake"}
    assert label(tmp_path, labeller, form="pointwise") == 0
    scores = [line["score"] for line in read_lines(tmp_path / "out.jsonl")]
    assert scores == [fake_reward(text) for text in "abc"]
    assert upstream.calls[0].path == "/v1/score"
    assert upstream.calls[0].body["items"][0]["messages"] == [user("question 0")]


def test_answers_to_a_prompt_are_sent_together(tmp_path: Path, serve: Serve) -> None:
    """A judge behind a gateway compares them with each other."""
    answers(tmp_path, ["a", "b", "c"])
    upstream = serve()
    assert label(tmp_path, {"type": "reward_server", "url": upstream.url}) == 0
    [call] = upstream.calls
    [item] = call.body["items"]
    assert [one["content"] for one in item["completions"]] == ["a", "b", "c"]
    assert "missing" not in call.body


def test_any_reward_of_a_gateway_labels(tmp_path: Path, start_app: Start) -> None:
    hook = {"type": "hook", "function": "tests.trainers.rewards.test_remote:length"}
    url = start_app(gateway({"length": hook, "other": hook}))
    answers(tmp_path, ["four", "fifteen letters"])
    labeller = {"type": "reward_server", "url": url, "model": "length"}
    assert label(tmp_path, labeller, form="pointwise") == 0
    assert [line["score"] for line in read_lines(tmp_path / "out.jsonl")] == [4.0, 15.0]


def test_a_gateways_judge_labels(tmp_path: Path, serve: Serve, start_app: Start) -> None:
    upstream = serve(FakeJudge(lambda prompt: {"U" if fenced(prompt)[-1] == "good" else "A": 1.0}))
    judge = {"type": "judge", "urls": [upstream.url], "model": "judge"}
    url = start_app(gateway({"judge": judge}))
    answers(tmp_path, ["bad", "good"])
    labeller = {"type": "reward_server", "url": url, "model": "judge"}
    assert label(tmp_path, labeller) == 0
    [pair] = read_lines(tmp_path / "out.jsonl")
    assert pair["chosen"][-1]["content"] == "good"
    assert pair["rejected"][-1]["content"] == "bad"


def test_an_abstention_leaves_the_record_or_drops_it(tmp_path: Path, serve: Serve) -> None:
    def script(call: Call) -> Step:
        judged = [len(item["completions"]) for item in call.body["items"]]
        if call.body.get("missing") != "null":
            return Step(status=422, raw=b'{"error": {"message": "the judge abstained"}}')
        rewards = [{"rewards": [1.0] + [None] * (count - 1)} for count in judged]
        return Step(raw=orjson.dumps({"results": rewards}))

    answers(tmp_path, ["a", "b"])
    upstream = serve(script)
    labeller = {"type": "reward_server", "url": upstream.url}
    assert label(tmp_path, labeller) == 1
    assert report(tmp_path)["figures"]["failed: status 422: the judge abstained"] == 1
    assert len(upstream.calls) == 1
    again = tmp_path / "again"
    again.mkdir()
    answers(again, ["a", "b"])
    assert label(again, labeller | {"abstained": "drop"}) == 1
    assert report(again)["dropped"] == {ABSTAINED: 1}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"results": [{"rewards": [1.0]}]}', "not a reward for each answer in the reply"),
        (b'{"results": [{}, {}]}', "the reply has no results for 1 prompts"),
    ],
)
def test_a_reward_server_that_answers_something_else(
    tmp_path: Path, serve: Serve, raw: bytes, reason: str
) -> None:
    answers(tmp_path, ["a", "b"])
    labeller = {"type": "reward_server", "url": serve(lambda call: Step(raw=raw)).url}
    assert label(tmp_path, labeller) == 1
    assert report(tmp_path)["figures"][f"failed: {reason}"] == 1


def test_a_gateways_verifier_labels(tmp_path: Path, start_app: Start) -> None:
    verifier = {"type": "verifiers", "verifiers": [{"type": "numeric"}]}
    url = start_app(gateway({"right": verifier}))
    metadata = {"reference": "42"}
    answers(tmp_path, ["41", "It is 42."], metadata=metadata)
    labeller = {"type": "reward_server", "url": url, "model": "right"}
    assert label(tmp_path, labeller) == 0
    [pair] = read_lines(tmp_path / "out.jsonl")
    assert pair["chosen"][-1]["content"] == "It is 42."
    assert pair["metadata"] == metadata
    for form in ("pointwise", "listwise"):
        assert label(tmp_path, labeller, form=form) == 0
        assert read_lines(tmp_path / "out.jsonl")[0]["metadata"] == metadata
