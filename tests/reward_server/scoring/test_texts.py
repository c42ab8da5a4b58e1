"""Texts that are scored without a chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from reward_server.errors import ContextLengthError, InvalidRequestError, RenderError
from reward_server.network.sequence import Ids, Rendered
from reward_server.scoring.render import Renderer
from reward_server.scoring.room import Room
from reward_server.scoring.texts import Cut, Texts
from tests.reward_server.conftest import BOS, EOS


def rendered(folder: Path, texts: Texts, limit: int = 96, **room: Any) -> list[Rendered]:
    renderer = Renderer(AutoTokenizer.from_pretrained(folder))
    where = Room(0, limit, room.pop("on_overflow", "refuse"), renderer.bound)
    return renderer.render_texts(texts, where)


def ids(folder: Path, text: str) -> Ids:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_special_tokens_go_around_a_text_as_the_tokenizer_puts_them(llama: Path) -> None:
    own = ids(llama, "abc")
    (with_them,) = rendered(llama, Texts(["abc"]))
    (without,) = rendered(llama, Texts(["abc"], special_tokens=False))
    assert with_them.ids == (BOS, *own, EOS)
    assert without.ids == own


def test_an_encoder_reads_one_segment(bert: Path) -> None:
    (found,) = rendered(bert, Texts(["abc"]))
    assert found.token_types == (0,) * len(found.ids)


def test_what_texts_begin_with_is_shared(llama: Path) -> None:
    found = rendered(llama, Texts(["abcd", "abxy", "ab"], special_tokens=False))
    assert [sequence.prompt_tokens for sequence in found] == [1, 1, 1]
    (alone,) = rendered(llama, Texts(["abcd"], special_tokens=False))
    assert alone.prompt_tokens == 0


def test_a_known_prompt_is_shared_and_cut(llama: Path) -> None:
    texts = Texts(["question? yes", "question? no"], prompt="question? ", special_tokens=False)
    found = rendered(llama, texts)
    assert [sequence.prompt_tokens for sequence in found] == [10, 10]
    cut = rendered(llama, texts, limit=8, on_overflow="truncate_prompt")
    assert [s.ids for s in cut] == [ids(llama, "ion? yes"), ids(llama, "tion? no")]
    assert all(sequence.truncated for sequence in cut)


def test_token_ids_are_taken_as_they_are(llama: Path) -> None:
    (found,) = rendered(llama, Texts([(7, 8, 9)]))
    assert found.ids == (7, 8, 9)


@pytest.mark.parametrize("token", [-1, 10_000])
def test_no_token_has_such_an_id(llama: Path, token: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"no token has the id {token}"):
        rendered(llama, Texts([(7, token)]))


def test_a_text_that_is_too_long_is_refused(llama: Path) -> None:
    with pytest.raises(ContextLengthError) as caught:
        rendered(llama, Texts(["a", "b" * 200]))
    assert caught.value.param == "items[0].completions[1]"
    with pytest.raises(ContextLengthError):
        rendered(llama, Texts(["b" * 95]))  # with its two special tokens


@pytest.mark.parametrize(("side", "left"), [("left", "efgh"), ("right", "abcd")])
def test_a_cut_keeps_the_special_tokens(llama: Path, side: Any, left: str) -> None:
    """As the tokenizer itself cuts."""
    (found,) = rendered(llama, Texts(["abcdefgh"], cut=Cut(side, 6)))
    tokenizer = AutoTokenizer.from_pretrained(llama, truncation_side=side)
    assert list(found.ids) == tokenizer("abcdefgh", truncation=True, max_length=6)["input_ids"]
    assert found.ids == (BOS, *ids(llama, left), EOS)
    assert found.truncated


def test_a_cut_leaves_at_most_what_the_model_reads(llama: Path) -> None:
    (found,) = rendered(llama, Texts(["a" * 300], cut=Cut("right", 200)))
    assert len(found.ids) == 96


def test_a_cut_leaves_something(llama: Path) -> None:
    with pytest.raises(ContextLengthError):
        rendered(llama, Texts(["abcdefgh"], cut=Cut("right", 2)))


@pytest.mark.parametrize("text", ["", "\ud800"])
def test_texts_that_cannot_be_read(llama: Path, text: str) -> None:
    with pytest.raises(RenderError):
        rendered(llama, Texts([text], special_tokens=False))


@pytest.mark.parametrize(("side", "kept"), [("left", "ac"), ("right", "aa")])
def test_of_megabytes_only_what_is_left_is_tokenised(llama: Path, side: Any, kept: str) -> None:
    (found,) = rendered(llama, Texts(["a" * 3_000_000 + "c"], cut=Cut(side)))
    assert len(found.ids) == 96
    assert found.ids[-3:] == (*ids(llama, kept), EOS)
