"""Verifiers as a reward."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bon_gateway.errors import AbstainedError
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import RewardRequest
from bon_gateway.verifiers.reward import VerifiersRewardSettings
from tests.bon_gateway.verifiers.support import MESSAGES, said

SHORT = {"type": "length", "max": 2}
ROME = {"type": "regex", "pattern": "Rome", "name": "rome"}


def reward_of(*verifiers: dict[str, Any], **section: Any) -> VerifiersRewardSettings:
    return VerifiersRewardSettings.model_validate(
        {"type": "verifiers", "verifiers": verifiers, **section}
    )


async def test_it_is_the_weighted_mean() -> None:
    reward = reward_of(SHORT, ROME, weights={"rome": 3}).build(None)
    answers = [said("Rome"), said("It is Rome"), said("Paris"), said("It is Paris")]
    scores = await reward.score(RewardRequest(MESSAGES), answers)
    assert scores.rewards == (1.0, 0.75, 0.25, 0.0)
    assert scores.members is not None
    assert scores.members[1] == {"length": 0.0, "rome": 1.0}
    assert scores.missing is None


async def test_a_score_counts_as_it_is() -> None:
    near = {
        "type": "text_similarity",
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.reference }}",
        "evaluation_metric": "fuzzy_match",
    }
    reward = reward_of(near).build(None)
    request = RewardRequest(MESSAGES, metadata={"reference": "Rome"})
    scores = await reward.score(request, [said("Rome"), said("Rom")])
    assert scores.rewards == pytest.approx((1.0, 6 / 7))
    assert scores.members is None


async def test_an_abstention_leaves_the_answer_without_a_reward() -> None:
    reward = reward_of(SHORT, {"type": "equals"}).build(None)
    scores = await reward.score(RewardRequest(MESSAGES), [said("Rome")])
    assert scores.rewards == (None,)
    assert isinstance(scores.missing, AbstainedError)
    assert scores.missing.message == "verifiers abstained: equals"
    assert scores.members == [{"length": 1.0}]


async def test_each_server_gets_its_own_key() -> None:
    async with FakeUpstream(api_key="one") as first, FakeUpstream(api_key="two") as second:
        section = reward_of(
            {"type": "http", "name": "a", "url": f"{first.url}/verify", "api_key_env": "A"},
            {"type": "http", "name": "b", "url": f"{second.url}/verify", "api_key_env": "B"},
        )
        assert section.key_variables == {
            "verifiers.0.api_key_env": "A",
            "verifiers.1.api_key_env": "B",
        }
        reward = section.build_with({"A": "one", "B": "two", None: None}.get)
        await reward.start()
        scores = await reward.score(RewardRequest(MESSAGES), [said("right"), said("wrong")])
        await reward.close()
    assert scores.rewards == (1.0, 0.0)
    with pytest.raises(ValueError, match="build_with"):
        section.build("one")


async def test_what_it_cost_is_told() -> None:
    grader = {
        "type": "score_model",
        "model": "fake",
        "input": [{"role": "user", "content": "{{ sample.output_text }}"}],
    }
    async with FakeUpstream(lambda _: Step(text='{"result": 0.5}')) as upstream:
        reward = reward_of({**grader, "url": upstream.url}).build(None)
        await reward.start()
        scores = await reward.score(RewardRequest(MESSAGES), [said("a"), said("b")])
        await reward.close()
    assert scores.rewards == (0.5, 0.5)
    assert scores.judging is not None
    assert scores.judging.calls == 2


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"verifiers": []}, "at least 1 item"),
        ({"verifiers": [SHORT, SHORT]}, "two verifiers are called 'length'"),
        ({"verifiers": [SHORT], "weights": {"rome": 1}}, "weights: no verifier is called 'rome'"),
        ({"verifiers": [SHORT], "weights": {"length": 0}}, "greater than 0"),
    ],
)
def test_what_it_refuses(section: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        VerifiersRewardSettings.model_validate({"type": "verifiers", **section})


def test_a_settings_file_may_name_it() -> None:
    settings = Settings.model_validate(
        {
            "policies": {"p": {"type": "vllm", "urls": ["http://x"]}},
            "rewards": {"r": {"type": "verifiers", "verifiers": [SHORT]}},
            "models": {"m": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n"}}},
        }
    )
    assert isinstance(settings.rewards["r"], VerifiersRewardSettings)


@pytest.mark.parametrize("weight", [0, -1, 1e308, float("inf"), float("nan")])
def test_weights_are_bounded(weight: float) -> None:
    with pytest.raises(ValidationError, match="weights"):
        reward_of(SHORT, weights={"length": weight})
