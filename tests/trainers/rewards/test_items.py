"""Conversations as items of ``POST /v1/score``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trainers.base.data import Conversation, Message
from trainers.base.template_inputs import TemplateInputs
from trainers.rewards.items import MalformedError, answered_prompts, batches, rewards_of


def conversation(question: str, *answers: str, **inputs: Any) -> Conversation:
    messages = [Message(role="user", content=question)]
    messages += [Message(role="assistant", content=answer) for answer in answers]
    return Conversation(messages, TemplateInputs(**inputs))


def test_all_answers_to_a_prompt_are_one_item() -> None:
    asked = [conversation(*words.split()) for words in ("q a", "r b", "q c", "q d e")]
    first, second, third = answered_prompts(asked)
    assert first.places == [0, 2]
    assert first.body == {
        "messages": [{"role": "user", "content": "q"}],
        "completions": [{"role": "assistant", "content": text} for text in "ac"],
    }
    assert second.places == [1]
    # What stands before the last message belongs to the prompt.
    assert [one["content"] for one in third.body["messages"]] == ["q", "d"]


def test_tools_tell_prompts_apart() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    found = answered_prompts([conversation("q", "a"), conversation("q", "a", tools=(tool,))])
    assert [prompt.body.get("tools") for prompt in found] == [None, [tool]]


def test_a_batch_never_parts_the_answers_to_a_prompt() -> None:
    words = ["q 1", "q 2", "q 3", "r 1", "s 1", "s 2", "t 1"]
    prompts = answered_prompts([conversation(*one.split()) for one in words])
    sizes = [[len(prompt.places) for prompt in batch] for batch in batches(prompts, 2)]
    assert sizes == [[3], [1], [2], [1]]
    assert [len(batch) for batch in batches(prompts, 4)] == [2, 2]
    assert list(batches([], 4)) == []


def test_rewards_find_their_places() -> None:
    prompts = answered_prompts([conversation(*one.split()) for one in ("q a", "r b", "q c")])
    reply = {"results": [{"rewards": [1, None]}, {"rewards": [0.5]}]}
    assert rewards_of(reply, prompts) == {0: 1.0, 2: None, 1: 0.5}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({}, "no results for 1 prompts"),
        ({"results": []}, "no results for 1 prompts"),
        ({"results": [{"rewards": [1.0, 2.0]}]}, "not a reward for each answer"),
        ({"results": [[1.0]]}, "not a reward for each answer"),
        ({"results": [{"rewards": ["1"]}]}, "no number"),
        ({"results": [{"rewards": [True]}]}, "no number"),
    ],
)
def test_another_reply_is_malformed(reply: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        rewards_of(reply, answered_prompts([conversation("q", "a")]))


def test_metadata_tells_items_apart() -> None:
    def asked(answer: str, **metadata: Any) -> Conversation:
        return replace(conversation("q", answer), metadata=metadata)

    found = answered_prompts(
        [asked("a", n="1", m=2), asked("b", n="2"), asked("c", m=2, n="1"), asked("d")]
    )
    assert [prompt.places for prompt in found] == [[0, 2], [1], [3]]
    sent = [prompt.body.get("metadata") for prompt in found]
    assert sent == [{"n": "1", "m": 2}, {"n": "2"}, None]
