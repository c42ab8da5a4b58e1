"""The fewest tokens that a text can have, known without tokenising it.

Tokenising ten million characters takes seconds and a gigabyte, even for a model that reads 512
tokens. The bound follows from the tokenizer's vocabulary and from its rules about characters that
leave no token. It claims nothing for a rule that is not known here: a bound never refuses a text
that could fit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NFC_SHRINKS = 4
"""Most code points that Unicode's composition joins into one (UAX #15)."""

_PIECE = 64 * 1024
"""Characters that one call into C counts; no other thread runs meanwhile."""
_WORD = re.compile(r"[0-9A-Za-z][^ ]*")
_ASCII_WORD = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_SPACES = re.compile(r"(?: |\\s)(?:\+|\*|\{\d+,\d*\})?")
"""Matches the regular expressions of normalisers that match white space alone."""
_SPACE_MARKS = frozenset({" ", "\u2581"})


@dataclass(frozen=True)
class TextBound:
    """The fewest tokens that a text can have.

    This one claims nothing: it is for a tokenizer that may make one token of any text.
    """

    def least(self, text: str) -> int:
        """Number of tokens that `text` has at the least."""
        return 0


@dataclass(frozen=True)
class CharacterBound(TextBound):
    """For a tokenizer in which each token stands for a limited number of characters."""

    per_token: int
    """Characters of the longest token, after normalisation."""
    composes: bool = False
    """Characters beyond ASCII may be composed before they are tokenised."""
    spaces_vanish: bool = False
    """White space may leave no token."""

    def least(self, text: str) -> int:
        per_token = self.per_token
        if self.composes and not text.isascii():
            per_token *= NFC_SHRINKS
        count = len(text)
        if self.spaces_vanish:
            # Python's white space is that of Unicode and of the tokenizers, and a few more.
            count = sum(len(word) for piece in _pieces(text) for word in piece.split())
        return -(-count // per_token)


@dataclass(frozen=True)
class WordBound(TextBound):
    """For a tokenizer that takes each word alone, and may make one token of a word of any length.

    Spaces part words. A word without an ASCII letter or digit may leave no token.
    """

    words_per_token: int = 1
    """Words in the longest added token: the tokenizer finds added tokens before it parts words."""

    def least(self, text: str) -> int:
        words, pieces = 0, 0
        for piece in _pieces(text):
            words += sum(1 for _ in _WORD.finditer(piece))
            pieces += 1
        # Each border of two pieces may have counted one word twice.
        return -(-(words - max(pieces - 1, 0)) // self.words_per_token)


def tail_of(text: str, bound: TextBound, tokens: int) -> int:
    """Where an end of `text` begins that certainly has `tokens` tokens; 0 if there is none."""
    size = max(tokens, 1)
    while size < len(text):
        if bound.least(text[-size:]) >= tokens:
            return len(text) - size
        size *= 2
    return 0


def head_of(text: str, bound: TextBound, tokens: int) -> int:
    """End of a beginning of `text` that certainly has `tokens` tokens; the text's length if there
    is none."""
    size = max(tokens, 1)
    while size < len(text):
        if bound.least(text[:size]) >= tokens:
            return size
        size *= 2
    return len(text)


def bound_of(tokenizer: Any) -> TextBound:
    """The bound of a tokenizer of transformers; nothing is known about a slow one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return TextBound()
    rules = json.loads(backend.to_str())
    model = rules["model"]
    added = rules.get("added_tokens") or []
    effect = _Effect()
    steps = [*_steps(rules.get("normalizer")), *_steps(rules.get("pre_tokenizer"))]
    if not all(_apply(step, effect) for step in steps):
        return TextBound()
    if _names_every_character(model, effect) and not effect.drops:
        longest = max(len(token) for token in _vocabulary(model))
        longest = max([longest, *(len(token["content"]) for token in added)])
        swallows = any(token["lstrip"] or token["rstrip"] for token in added)
        return CharacterBound(
            longest * effect.shrinks, effect.composes, effect.spaces_vanish or swallows
        )
    # Whether a word of unknown characters is a token at least.
    counts_words = model.get("type") != "BPE" or model.get("unk_token") is not None
    if counts_words and effect.parts_words and effect.shrinks == 1:
        return _word_bound(backend, added)
    return TextBound()


@dataclass
class _Effect:
    """What normalisers and pre-tokenizers do to a text before the model sees it."""

    byte_level: bool = False
    shrinks: int = 1
    """Most characters that replacements turn into one."""
    composes: bool = False
    spaces_vanish: bool = False
    drops: bool = False
    """Characters other than white space may vanish."""
    parts_words: bool = False
    """No token of the model spans a space between two words."""


def _steps(rule: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if rule is None:
        return
    if rule["type"] != "Sequence":
        yield rule
        return
    for step in rule.get("normalizers") or rule.get("pretokenizers") or []:
        yield from _steps(step)


_EFFECTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("NFD", "NFKD", "Lowercase", "Prepend", "Digits", "UnicodeScripts"), ()),
    "FixedLength": (),
    "ByteLevel": ("byte_level",),
    **dict.fromkeys(("NFC", "NFKC"), ("composes",)),
    **dict.fromkeys(("BertNormalizer", "StripAccents", "Nmt", "Precompiled"), ("drops",)),
    **dict.fromkeys(
        ("BertPreTokenizer", "Whitespace", "WhitespaceSplit"), ("spaces_vanish", "parts_words")
    ),
    "Strip": ("spaces_vanish",),
}
"""What each rule sets, but for those that `_apply` has to look into."""


def _apply(step: Mapping[str, Any], effect: _Effect) -> bool:
    """Add what a rule does; returns whether it is known."""
    kind = step["type"]
    if kind in {"Split", "Punctuation"}:
        return bool(step["behavior"] != "Removed")
    if kind == "Replace":
        return _replaces(step["pattern"], step["content"], effect)
    if kind == "Metaspace":
        effect.parts_words = effect.parts_words or bool(step.get("split", True))
        return True
    for name in _EFFECTS.get(kind, ()):
        setattr(effect, name, True)
    return kind in _EFFECTS


def _replaces(pattern: Mapping[str, str], content: str, effect: _Effect) -> bool:
    """White space may become less of it; any other text becomes a text of a known length."""
    if "String" in pattern and content:
        effect.shrinks *= -(-len(pattern["String"]) // len(content))
        return True
    found = pattern.get("Regex", "")
    if _SPACES.fullmatch(found) and content in _SPACE_MARKS:
        effect.spaces_vanish = True
        return True
    return False


def _names_every_character(model: Mapping[str, Any], effect: _Effect) -> bool:
    """Whether the model knows every character. A run of unknown ones may become one token, or
    none."""
    kind = model.get("type")
    if kind not in {"BPE", "Unigram"}:
        return False
    known = _vocabulary(model)
    if model.get("byte_fallback") and known >= _BYTES:
        return True
    if kind == "Unigram":
        return False
    if effect.byte_level:
        from tokenizers.pre_tokenizers import ByteLevel

        return known >= frozenset(ByteLevel.alphabet())
    return model.get("unk_token") is not None and not model.get("fuse_unk")


def _vocabulary(model: Mapping[str, Any]) -> frozenset[str]:
    vocabulary = model["vocab"]
    # Unigram's has a score beside each.
    return frozenset(entry if isinstance(entry, str) else entry[0] for entry in vocabulary)


def _word_bound(backend: Any, added: Sequence[Mapping[str, Any]]) -> TextBound:
    """Claims nothing where a letter, a digit or a space between two of them is lost."""
    text = " ".join(_ASCII_WORD)
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    if sum(any(map(str.isalnum, word)) for word in words) < len(_ASCII_WORD):
        return TextBound()
    return WordBound(max([1, *(token["content"].count(" ") + 1 for token in added)]))


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]
