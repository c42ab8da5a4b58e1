from __future__ import annotations

import pytest

from trainers.base.data import Conversation, Message
from trainers.base.template_inputs import TemplateInputs
from trainers.iterate.labelling import (
    CLOSE,
    CUT,
    EQUAL,
    TOO_FEW,
    RewardedAnswer,
    RewardedPrompt,
    drawn_labels,
    label,
    rewarded,
)

PROMPT = [Message(role="user", content="hello")]


def row(**rewards: float) -> RewardedPrompt:
    """Answers by their text; those that end in `_cut` were cut."""
    return {
        "prompt": PROMPT,
        "answers": [
            {
                "message": Message(role="assistant", content=text),
                "ended": not text.endswith("_cut"),
                "reward": reward,
            }
            for text, reward in rewards.items()
        ],
    }


def test_the_best_is_set_against_the_worst() -> None:
    labelled = label([row(a=0.5, b=2.0, c=-1.0)])
    assert labelled.pairs == [
        {
            "prompt": PROMPT,
            "chosen": [{"role": "assistant", "content": "b"}],
            "rejected": [{"role": "assistant", "content": "c"}],
            "margin": 3.0,
        }
    ]
    assert (labelled.mean_reward, labelled.mean_best) == (0.5, 2.0)


def test_of_equal_rewards_the_first_counts() -> None:
    [pair] = label([row(a=1.0, b=1.0, c=0.0, d=0.0)]).pairs
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("a", "c")


def test_cut_answers_are_left_aside_whatever_their_reward() -> None:
    labelled = label([row(a=1, b=2, c_cut=9), row(a=1, b_cut=9)])
    assert [pair["chosen"][0]["content"] for pair in labelled.pairs] == ["b"]
    assert (labelled.left_out[CUT], labelled.left_out[TOO_FEW]) == (2, 1)
    assert labelled.mean_best == 1.5


@pytest.mark.parametrize(
    ("texts", "rewards", "counts"),
    [
        (("a", "a"), [1.0, 1.0], (1, 0)),
        (("a", "b"), [1.0, 1.0], (0, 1)),
        (("a", "b"), [1.0, 0.5], (0, 1)),
        (("a", "b"), [1.0, 0.4], (0, 0)),
    ],
)
def test_what_makes_no_pair_is_counted(
    texts: tuple[str, ...], rewards: list[float], counts: tuple[int, int]
) -> None:
    answers = row(a=rewards[0])["answers"] + row(b=rewards[1])["answers"]
    for answer, text in zip(answers, texts, strict=True):
        answer["message"]["content"] = text
    labelled = label([{"prompt": PROMPT, "answers": answers}], min_gap=0.5)
    assert (labelled.left_out[EQUAL], labelled.left_out[CLOSE]) == counts
    assert len(labelled.pairs) == 1 - sum(counts)


def test_drawn_labels_follow_bradley_and_terry() -> None:
    rows = 4000
    labelled = label([row(good=1.0, bad=0.0)] * rows, prefer=drawn_labels(seed=0))
    right = sum(pair["margin"] > 0 for pair in labelled.pairs)
    # sigmoid(1) = .731, with a standard deviation of .007
    assert right / rows == pytest.approx(0.731, abs=0.03)
    for pair in labelled.pairs[:50]:
        assert (pair["chosen"][0]["content"] == "good") == (pair["margin"] > 0)


def test_what_stands_beside_a_prompt_stays_with_its_pair() -> None:
    inputs = TemplateInputs(({"type": "function", "function": {"name": "look"}},), {"hat": "red"})
    asked = Conversation([Message(role="user", content="hi")], inputs)
    answers: list[RewardedAnswer] = [
        {
            "message": Message(role="assistant", content=text),
            "ended": True,
            "reward": reward,
        }
        for text, reward in (("a", 1.0), ("b", 0.0))
    ]
    [pair] = label([rewarded(asked, answers)]).pairs
    assert {key: pair[key] for key in ("prompt", "tools", "chat_template_kwargs")} == {
        "prompt": asked.messages,
        **inputs.as_json(),
    }


def test_metadata_stays_with_the_prompt() -> None:
    answers = row(a=0.5, b=2.0)["answers"]
    asked = Conversation(PROMPT, metadata={"reference": "42"})
    assert rewarded(Conversation(PROMPT), answers) == {"prompt": PROMPT, "answers": answers}
    [pair] = label([rewarded(asked, answers)]).pairs
    assert pair["metadata"] == {"reference": "42"}
