"""The answer is the argmax of the rewards, whoever computes them and however candidates are drawn.

Every reward is computed again from the candidate's returned text, by transformers alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.conftest import FAN_OUTS, REWARDS
from tests.integration.engines import Generator
from tests.integration.gateway import Gateway
from tests.integration.prompts import PROMPTS, ask

pytestmark = pytest.mark.vllm
TOLERANCE = 1e-4

ByHand = Callable[[list[Any]], float]


def check(answer: dict[str, Any], messages: list[Any], by_hand: ByHand) -> list[float]:
    """The rewards by hand, once everything that the answer says agrees with them."""
    bon = answer["bon"]
    candidates = bon["candidates"]
    rewards = [by_hand([*messages, candidate["message"]]) for candidate in candidates]
    assert [c["reward"] for c in candidates] == pytest.approx(rewards, abs=TOLERANCE)
    eligible = [i for i, c in enumerate(candidates) if c["status"] == "finished"] or [
        i for i, c in enumerate(candidates) if c["status"] == "truncated"
    ]
    best = max(eligible, key=lambda i: rewards[i])
    assert bon["winner"] == best
    assert bon["reward"] == pytest.approx(rewards[best], abs=TOLERANCE)
    assert answer["choices"][0]["message"] == candidates[best]["message"]
    assert answer["choices"][0]["finish_reason"] == candidates[best]["finish_reason"]
    assert bon["degraded"] is None
    tokens = sum(c["tokens"] for c in candidates)
    assert answer["usage"]["completion_tokens"] == tokens
    assert bon["usage"]["winner_tokens"] == candidates[best]["tokens"]
    assert bon["usage"]["discarded_tokens"] == tokens - candidates[best]["tokens"]
    return rewards


@pytest.mark.parametrize("fan_out", FAN_OUTS)
@pytest.mark.parametrize("reward", REWARDS)
async def test_the_best_of_eight(
    gateway: Gateway, reward_by_hand: ByHand, reward: str, fan_out: str
) -> None:
    gains = []
    for seed, prompt in enumerate(PROMPTS):
        answer = await gateway.chat(
            model=f"{reward}-{fan_out}",
            messages=ask(prompt),
            seed=100 * seed,
            bon={"return_candidates": True},
        )
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-bon-n"] == "8"
        rewards = check(answer.json(), ask(prompt), reward_by_hand)
        assert float(answer.headers["x-bon-reward"]) == pytest.approx(max(rewards), rel=1e-4)
        gains.append(max(rewards) - sum(rewards) / len(rewards))
    # Otherwise whoever wins would be as good.
    assert min(gains) > 0.1


async def test_a_conversation_with_a_system_message(
    gateway: Gateway, reward_by_hand: ByHand
) -> None:
    messages = [
        {"role": "system", "content": "You are a friendly bear."},
        *ask(PROMPTS[3]),
        {"role": "assistant", "content": "Gladly! Try the park and the beach."},
        *ask(PROMPTS[0]),
    ]
    answer = await gateway.chat(
        model="vllm_classify-separate", messages=messages, seed=5, bon={"return_candidates": True}
    )
    check(answer.json(), messages, reward_by_hand)


@pytest.mark.parametrize("fan_out", FAN_OUTS)
@pytest.mark.parametrize("reward", REWARDS)
async def test_what_the_client_began_is_scored_with_the_rest(
    gateway: Gateway, reward_by_hand: ByHand, reward: str, fan_out: str
) -> None:
    begun = "Sure! Try the"
    messages = [*ask(PROMPTS[0]), {"role": "assistant", "content": begun}]
    for echo in (False, True):
        answer = await gateway.chat(
            model=f"{reward}-{fan_out}",
            messages=messages,
            continue_final_message=True,
            add_generation_prompt=False,
            echo=echo,
            seed=3,
            bon={"return_candidates": True},
        )
        assert answer.status_code == 200, answer.text
        candidates = answer.json()["bon"]["candidates"]
        texts = [c["message"]["content"] for c in candidates]
        assert all(text.startswith(begun) for text in texts) is echo
        wholes = texts if echo else [begun + text for text in texts]
        rewards = [
            reward_by_hand([*ask(PROMPTS[0]), {"role": "assistant", "content": whole}])
            for whole in wholes
        ]
        assert [c["reward"] for c in candidates] == pytest.approx(rewards, abs=TOLERANCE)


@pytest.mark.parametrize("reward", REWARDS)
async def test_every_reward_model_reads_instructions_and_refusals(
    gateway: Gateway, reward_by_hand: ByHand, reward: str
) -> None:
    def conversation(role: str, refusal: Any) -> list[dict[str, Any]]:
        return [
            {"role": role, "content": "You are a friendly bear."},
            *ask(PROMPTS[3]),
            {"role": "assistant", "content": refusal},
            *ask(PROMPTS[0]),
        ]

    refusal = [{"type": "refusal", "refusal": "I would rather not."}]
    answer = await gateway.chat(
        model=f"{reward}-separate",
        messages=conversation("developer", refusal),
        seed=5,
        bon={"return_candidates": True},
    )
    check(answer.json(), conversation("system", "I would rather not."), reward_by_hand)


async def test_the_top_three_come_best_first(gateway: Gateway) -> None:
    answer = await gateway.chat(
        model="reward_server-separate", messages=ask(), seed=1, n=3, bon={"return_candidates": True}
    )
    body = answer.json()
    candidates = body["bon"]["candidates"]
    ranked = sorted(candidates, key=lambda c: (-c["reward"], c["index"]))
    assert [choice["message"] for choice in body["choices"]] == [c["message"] for c in ranked[:3]]


@pytest.mark.parametrize("fan_out", FAN_OUTS)
async def test_a_truncated_candidate_never_beats_a_finished_one(
    gateway: Gateway, engines: Any, reward_by_hand: ByHand, fan_out: str
) -> None:
    generator: Generator = engines.generator
    drawn = [generator.chat({"messages": ask(), "seed": seed}) for seed in range(8)]
    limit = sorted(answer["usage"]["completion_tokens"] for answer in drawn)[2]
    answer = await gateway.chat(
        model=f"reward_server-{fan_out}",
        messages=ask(),
        seed=0,
        max_tokens=limit,
        bon={"return_candidates": True},
    )
    statuses = {c["status"] for c in answer.json()["bon"]["candidates"]}
    assert statuses == {"finished", "truncated"}
    check(answer.json(), ask(), reward_by_hand)


async def test_temperature_zero_draws_one(gateway: Gateway, reward_by_hand: ByHand) -> None:
    answer = await gateway.chat(
        model="in_process-separate",
        messages=ask(),
        temperature=0,
        bon={"return_candidates": True},
    )
    assert answer.headers["x-bon-n"] == "1"
    check(answer.json(), ask(), reward_by_hand)
