"""What `bon-train` has tuned and exported, vLLM serves as it is: transformers finds the same
tokens and rewards, and the gateway serves each policy as a `single` model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bon_gateway import demo_models
from tests.integration.engines import MODEL, Upstream
from tests.integration.gateway import Gateway
from tests.integration.reference import TOLERANCE, Answer, Reference
from tests.integration.served import LIMIT, POLICIES, Conversation, Policy, Served, greedy

pytestmark = pytest.mark.vllm
TIE = 1e-4
"""A lead of the likeliest token over the next that another order of adding might turn round."""


def compared(served: Served, policy: Policy) -> list[tuple[Conversation, Answer]]:
    """All prompts but those, few if any, in whose answer a tie decided."""
    both = zip(served.prompts, policy.answers, strict=True)
    found = [(prompt, answer) for prompt, answer in both if answer.margin > TIE]
    assert len(found) >= len(served.prompts) - 2
    return found


@pytest.mark.parametrize("name", POLICIES)
def test_greedy_tokens_are_those_of_transformers(served: Served, name: str) -> None:
    policy = served.policies[name]
    body = {"temperature": 0, "max_tokens": LIMIT, "return_token_ids": True}
    for prompt, answer in compared(served, policy):
        found = policy.engine.chat({"messages": prompt, **body})
        choice = found["choices"][0]
        assert found["prompt_token_ids"] == answer.prompt_ids
        assert choice["token_ids"] == answer.ids
        assert choice["message"]["content"] == answer.text
    print(f"{name}: the narrowest lead is {min(answer.margin for answer in policy.answers):.1g}")


def test_each_policy_is_another_one(served: Served) -> None:
    """Otherwise a folder with the wrong weights would go unnoticed."""
    found = {name: [a.ids for a in policy.answers] for name, policy in served.policies.items()}
    found["demo"] = [a.ids for a in greedy(demo_models.policy_path(), served.prompts)]
    dpo, ppo, demo = found["dpo"], found["ppo"], found["demo"]
    for one, other in ((dpo, demo), (ppo, demo), (dpo, ppo)):
        assert sum(a != b for a, b in zip(one, other, strict=True)) >= 3


def test_raw_rewards_agree(served: Served) -> None:
    reference = Reference(served.reward)
    by_hand = [reference.reward(conversation) for conversation in served.answered]
    vllm = [by_vllm(served.pooling, conversation) for conversation in served.answered]
    server = [by_reward_server(served.reward_server, c) for c in served.answered]
    print(f"{len(by_hand)} conversations, from {min(by_hand):.3f} to {max(by_hand):.3f}")
    assert vllm == pytest.approx(by_hand, abs=TOLERANCE)
    assert server == pytest.approx(by_hand, abs=TOLERANCE)
    assert server == pytest.approx(vllm, abs=TOLERANCE)
    assert max(by_hand) - min(by_hand) > 1000 * TOLERANCE


def by_vllm(pooling: Upstream, conversation: Conversation) -> float:
    body = {"model": MODEL, "messages": conversation, "use_activation": False}
    found: float = pooling.post("/classify", body)["data"][0]["probs"][0]
    return found


def by_reward_server(server: Upstream, conversation: Conversation) -> float:
    item = {"messages": conversation[:-1], "completions": conversation[-1:]}
    found: float = server.post("/v1/score", {"items": [item]})["results"][0]["rewards"][0]
    return found


async def test_the_gateway_serves_each_policy_in_one_pass(
    served: Served, start_gateway: Callable[[dict[str, Any]], Gateway]
) -> None:
    gateway = start_gateway(
        {
            "policies": {
                name: {"type": "vllm", "urls": [policy.engine.url]}
                for name, policy in served.policies.items()
            },
            "models": {
                f"tuned-{name}": {"policy": name, "strategy": {"type": "single"}}
                for name in served.policies
            },
        }
    )
    for name, policy in served.policies.items():
        for prompt, expected in compared(served, policy):
            answer = await gateway.chat(
                model=f"tuned-{name}", messages=prompt, temperature=0, max_tokens=LIMIT
            )
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert body["choices"][0]["message"]["content"] == expected.text
            assert (body["bon"]["strategy"], body["bon"]["n"]) == ("single", 1)
            assert body["usage"]["completion_tokens"] == len(expected.ids)
