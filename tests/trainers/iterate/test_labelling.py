from __future__ import annotations

import pytest

from trainers.base.data import Message
from trainers.iterate.labelling import drawn_labels, label
from trainers.iterate.samplers import Answer

PROMPT = [Message(role="user", content="hello")]


def answers(*texts: str) -> list[Answer]:
    """Those that end in an ellipsis were cut."""
    return [Answer(text, not text.endswith("...")) for text in texts]


def test_the_best_is_set_against_the_worst() -> None:
    labelled = label([PROMPT], [answers("a", "b", "c")], [[0.5, 2.0, -1.0]])
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
    [pair] = label([PROMPT], [answers("a", "b", "c", "d")], [[1.0, 1.0, 0.0, 0.0]]).pairs
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("a", "c")


def test_cut_answers_are_left_aside_whatever_their_reward() -> None:
    labelled = label(
        [PROMPT] * 2, [answers("a", "b", "c..."), answers("a", "b...")], [[1, 2, 9], [1, 9]]
    )
    assert [pair["chosen"][0]["content"] for pair in labelled.pairs] == ["b"]
    assert (labelled.cut, labelled.too_few) == (2, 1)
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
    labelled = label([PROMPT], [answers(*texts)], [rewards], min_gap=0.5)
    assert (labelled.equal, labelled.close) == counts
    assert len(labelled.pairs) == 1 - sum(counts)


def test_drawn_labels_follow_bradley_and_terry() -> None:
    rows = 4000
    labelled = label(
        [PROMPT] * rows,
        [answers("good", "bad")] * rows,
        [[1.0, 0.0]] * rows,
        prefer=drawn_labels(seed=0),
    )
    right = sum(pair["margin"] > 0 for pair in labelled.pairs)
    # sigmoid(1) = .731, with a standard deviation of .007
    assert right / rows == pytest.approx(0.731, abs=0.03)
    for pair in labelled.pairs[:50]:
        assert (pair["chosen"][0]["content"] == "good") == (pair["margin"] > 0)
