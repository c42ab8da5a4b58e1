from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainers.preferences.helpers import bot, user
from trainers.base.data import Message
from trainers.preferences.split import normalised, side_of

TEXTS = st.text(max_size=20)
PROMPTS = st.lists(TEXTS, min_size=1, max_size=3).map(
    lambda texts: [(user if i % 2 == 0 else bot)(text) for i, text in enumerate(texts)]
)


def disguised(prompt: list[Message], before: str, after: str) -> list[Message]:
    """The same words in other capitals, between spaces and punctuation."""
    return [
        Message(role=m["role"], content=f"{before}{m['content'].title()}{after}") for m in prompt
    ]


@given(PROMPTS, st.integers(0, 5), st.floats(0, 1), st.text("!?,. \t\n", max_size=3))
def test_a_prompt_is_on_one_side_however_it_is_written(
    prompt: list[Message], seed: int, share: float, around: str
) -> None:
    side = side_of(prompt, seed=seed, held_out_share=share)
    lowered = [Message(role=m["role"], content=m["content"].lower()) for m in prompt]
    assert normalised(disguised(lowered, around, around)) == normalised(lowered)
    assert side_of(disguised(lowered, around, around), seed=seed, held_out_share=share) == side_of(
        lowered, seed=seed, held_out_share=share
    )
    assert side_of(list(prompt), seed=seed, held_out_share=share) == side


@given(PROMPTS, st.integers(0, 5))
def test_a_greater_share_only_adds_to_the_evaluation_side(prompt: list[Message], seed: int) -> None:
    sides = [side_of(prompt, seed=seed, held_out_share=share / 10) for share in range(11)]
    assert sides == sorted(sides, key=["train", "held-out"].index)
    assert sides[0] == "train"
    assert sides[-1] == "held-out"


def test_the_share_is_met_and_the_seed_decides() -> None:
    prompts = [[user(f"question {n}")] for n in range(4000)]
    first, second = (
        [side_of(prompt, seed=seed, held_out_share=0.2) == "held-out" for prompt in prompts]
        for seed in (0, 1)
    )
    # 800 expected, standard deviation 25.
    assert sum(first) == pytest.approx(800, abs=125)
    assert sum(second) == pytest.approx(800, abs=125)
    both = sum(a and b for a, b in zip(first, second, strict=True))
    assert both == pytest.approx(160, abs=65)


def test_the_side_does_not_change_between_releases() -> None:
    # Data that was split by an older release must not leak into a newer one's training.
    sides = [side_of([user(f"question {n}")], seed=0, held_out_share=0.5)[0] for n in range(16)]
    assert "".join(sides) == "htttttthhthhthth"


def test_roles_contexts_and_calls_make_other_prompts() -> None:
    call: Message = {"role": "user", "content": "hi", "tool_calls": [{"id": "1"}]}
    prompts = [[user("hi")], [bot("hi")], [user("hi"), user("hi")], [user("hi hi")], [call]]
    assert len({normalised(prompt) for prompt in prompts}) == len(prompts)


def test_by_first_turn_a_dialogue_is_one_prompt() -> None:
    system: Message = {"role": "system", "content": "be kind"}
    short = [system, user("hi")]
    long = [*short, bot("hello"), user("and?")]
    assert normalised(short) != normalised(long)
    assert normalised(short, "first_turn") == normalised(long, "first_turn")
    assert normalised([user("hi")], "first_turn") != normalised(short, "first_turn")
    assert normalised([system], "first_turn") == normalised([system])
