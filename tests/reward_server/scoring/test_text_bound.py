"""The bound is tried against tokenizers of every kind that models come with."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from reward_server.scoring.text_bound import (
    NFC_SHRINKS,
    CharacterBound,
    TextBound,
    WordBound,
    bound_of,
    tail_of,
)

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
LETTERS = [chr(code) for code in range(33, 127)]
FALLBACK = [f"<0x{byte:02X}>" for byte in range(256)]


def bpe(alphabet: list[str], *words: str, **options: Any) -> Tokenizer:
    """Merges lead to each word, letter by letter."""
    vocabulary = dict.fromkeys(["<unk>", *alphabet])
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            merges.append((word[: end - 1], word[end - 1]))
            vocabulary[word[:end]] = None
    numbered = {token: i for i, token in enumerate(vocabulary)}
    return Tokenizer(models.BPE(numbered, merges, **options))


def byte_level(normalizer: Any = None, split: Any = None) -> Tokenizer:
    tokenizer = bpe(BYTES, "\u0120the", "abcdefgh", "\u0120" * 9, "\u00c3\u00a9")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    steps = [bytes_] if split is None else [split, bytes_]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return tokenizer


def llama_like(**options: Any) -> Tokenizer:
    alphabet = [*FALLBACK, "\u2581", *LETTERS]
    tokenizer = bpe(alphabet, "\u2581the", "\u2581" * 6, byte_fallback=True, **options)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    return tokenizer


def bert() -> Tokenizer:
    words = {word: i for i, word in enumerate(["[UNK]", "the", "a", "##b", *LETTERS])}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def unigram() -> Tokenizer:
    pieces = [("<unk>", 0.0), ("\u2581", -2.0), ("\u2581the", -1.0), ("a", -3.0), ("1", -3.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), "\u2581"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def greedy() -> Tokenizer:
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<mask>", lstrip=True, rstrip=True)])
    tokenizer.add_special_tokens([AddedToken("<|a very long mark|>", normalized=False)])
    return tokenizer


def shrinking() -> Tokenizer:
    return byte_level(normalizers.Sequence([normalizers.Replace("abc", "x"), normalizers.NFC()]))


ANY = {
    "byte level": byte_level,
    "byte level, NFC": lambda: byte_level(normalizers.NFC()),
    "byte level, NFKC and strip": lambda: byte_level(
        normalizers.Sequence([normalizers.Strip(), normalizers.NFKC()])
    ),
    "byte level, white space removed": lambda: byte_level(split=pre_tokenizers.WhitespaceSplit()),
    "marks that take spaces": greedy,
    "a replacement that shrinks": shrinking,
    "byte fallback": llama_like,
    "WordPiece": bert,
    "Unigram": unigram,
    "unknown characters dropped": lambda: bpe(["a", "b"]),
    "unknown characters fused": lambda: bpe(["a", "b"], unk_token="<unk>", fuse_unk=True),
    "unknown characters": lambda: bpe(["a", "b"], unk_token="<unk>"),
    "letters removed": lambda: byte_level(split=pre_tokenizers.Split("a", "removed")),
    "accents removed": lambda: byte_level(
        normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    ),
}


def loaded(make: Callable[[], Tokenizer]) -> tuple[Tokenizer, TextBound]:
    tokenizer = make()
    return tokenizer, bound_of(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


BOTH = {name: loaded(make) for name, make in ANY.items()}
PIECES = (
    *("abcdefgh", "abc", " the", "the", " ", "  ", "\n\t", "a", "1", "!", "x" * 30),
    *("\u00e9", "e\u0301", "\u0301", "\u03b1\u0313\u0300\u0345", "\u1100\u1161\u11a8"),
    *("\x00", "\x1c", "\u2603", "\u00a0", "\u2028", "\ufdfa", "\u200b", "\u0130"),
    *("<mask>", "<|a very long mark|>"),
)
pieces = st.sampled_from(PIECES)
texts = st.builds(
    lambda parts, times: "".join(parts) * times,
    st.lists(st.one_of(pieces, st.text(max_size=4)), max_size=12),
    st.integers(1, 12),
)


@pytest.mark.parametrize("name", ANY)
@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_no_text_has_fewer_tokens(name: str, text: str) -> None:
    tokenizer, bound = BOTH[name]
    tokens = len(tokenizer.encode(text, add_special_tokens=False).ids)
    assert bound.least(text) <= tokens


@pytest.mark.parametrize(
    ("name", "text", "tokens"),
    [
        ("byte level", "abcdefgh", 1),
        ("byte fallback", "the", 1),
        ("marks that take spaces", " " * 5000 + "<mask>" + " " * 5000, 1),
        ("a replacement that shrinks", "abc" * 3, 3),
    ],
)
def test_nothing_larger_could_be_claimed(name: str, text: str, tokens: int) -> None:
    tokenizer, bound = BOTH[name]
    assert len(tokenizer.encode(text, add_special_tokens=False).ids) == tokens
    assert bound.least(text) <= tokens


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("byte level", CharacterBound(9)),
        ("byte level, NFC", CharacterBound(9, composes=True)),
        ("byte level, NFKC and strip", CharacterBound(9, composes=True, spaces_vanish=True)),
        ("byte level, white space removed", CharacterBound(9, spaces_vanish=True)),
        ("marks that take spaces", CharacterBound(20, spaces_vanish=True)),
        ("a replacement that shrinks", CharacterBound(27, composes=True)),
        ("byte fallback", CharacterBound(6)),
        ("unknown characters", CharacterBound(5)),
        ("WordPiece", WordBound()),
        ("Unigram", WordBound()),
        ("unknown characters dropped", TextBound()),
        ("unknown characters fused", TextBound()),
        ("letters removed", TextBound()),
        ("accents removed", TextBound()),
    ],
)
def test_what_is_known_of_a_tokenizer(name: str, expected: TextBound) -> None:
    assert BOTH[name][1] == expected


def test_a_slow_tokenizer_has_no_bound() -> None:
    assert bound_of(object()) == TextBound()


def test_composition_shrinks_no_more_than_is_assumed() -> None:
    longest = max(len(unicodedata.normalize("NFD", chr(code))) for code in range(0x110000))
    assert longest == NFC_SHRINKS


def test_large_texts_are_counted_piece_by_piece() -> None:
    text = "ab " * 100_000
    assert CharacterBound(1, spaces_vanish=True).least(text) == 200_000
    assert 99_000 < WordBound().least(text) <= 100_000
    assert WordBound().least("a" * 300_000) <= 1


@given(st.text("ab ", max_size=300), st.integers(1, 40))
def test_a_tail_has_the_tokens_that_were_asked_for(text: str, tokens: int) -> None:
    bound = CharacterBound(3, spaces_vanish=True)
    start = tail_of(text, bound, tokens)
    assert start == 0 or bound.least(text[start:]) >= tokens
    if bound.least(text[1:]) >= tokens and len(text) > 12 * tokens + 600:
        assert start > 0
