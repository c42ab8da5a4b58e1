from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import AutoTokenizer

from reward_server.scoring import tokenising
from reward_server.scoring.tokenising import Tokeniser

PROMPT = "<s><|user|>" + "a long question " * 50 + "</s><|assistant|>"


class Counting:
    """A tokenizer that counts the characters that it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.characters = 0
        self.added_tokens_decoder = tokenizer.added_tokens_decoder

    def __call__(self, texts: list[str], **options: Any) -> Any:
        self.characters += sum(map(len, texts))
        return self._tokenizer(texts, **options)


@pytest.fixture(scope="module")
def tokenizer(llama: Path) -> Any:
    return AutoTokenizer.from_pretrained(llama)


def plainly(tokenizer: Any, texts: list[str]) -> list[tuple[int, ...]]:
    return [tuple(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def test_the_prompt_is_not_tokenised_for_each_candidate(tokenizer: Any) -> None:
    counting = Counting(tokenizer)
    answers = [PROMPT + f"answer {n}</s>" for n in range(20)]
    prompt_ids, ids = Tokeniser(counting).candidates(PROMPT, answers)  # type: ignore[arg-type]
    assert [prompt_ids, *ids] == plainly(tokenizer, [PROMPT, *answers])
    assert counting.characters < 3 * len(PROMPT) + 20 * len("<|assistant|>answer 10</s>")


@settings(max_examples=50, deadline=None)
@given(
    texts=st.lists(st.text(max_size=20), min_size=1, max_size=6), spaces=st.text(" \n", max_size=3)
)
def test_the_ids_are_those_of_whole_texts(tokenizer: Any, texts: list[str], spaces: str) -> None:
    prompt = PROMPT + spaces
    whole = [prompt + text for text in texts]
    prompt_ids, ids = Tokeniser(tokenizer).candidates(prompt, whole)
    assert [prompt_ids, *ids] == plainly(tokenizer, [prompt, *whole])


def test_a_text_that_does_not_begin_with_the_prompt_is_right_too(tokenizer: Any) -> None:
    texts = [PROMPT + "a", "<s>b", PROMPT + "c", PROMPT[:-3]]
    prompt_ids, ids = Tokeniser(tokenizer).candidates(PROMPT, texts)
    assert [prompt_ids, *ids] == plainly(tokenizer, [PROMPT, *texts])


def test_marks_that_take_their_neighbours_are_no_place_to_cut(tokenizer: Any) -> None:
    class Greedy:
        added_tokens_decoder: ClassVar = {
            1: AddedToken("<a>", lstrip=True, normalized=False),
            2: AddedToken("<b>", single_word=True, normalized=False),
            3: AddedToken("<c>", normalized=True),
            4: AddedToken("<d>", normalized=False),
        }

    assert Tokeniser(Greedy())._marks == ("<d>",)  # type: ignore[arg-type]


def test_a_cut_that_changes_tokens_is_noticed(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenising, "_marks", lambda _: ("er|>",))  # within a special token
    texts = [PROMPT + f"answer {n}</s>" for n in range(5)]
    prompt_ids, ids = Tokeniser(tokenizer).candidates(PROMPT, texts)
    assert [prompt_ids, *ids] == plainly(tokenizer, [PROMPT, *texts])
