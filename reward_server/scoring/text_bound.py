"""How many tokens a text has at the least, known without tokenising it.

Tokenising ten million characters takes seconds and a gigabyte, also where the model reads 512
tokens. What a tokenizer can make of a text follows from its vocabulary and from its rules about
characters that leave no token. Where those rules are not known, nothing is claimed: a bound never
refuses a text that could fit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

NFC_SHRINKS = 4
"""Code points that Unicode's composition makes one of, at the most (UAX #15)."""

_PIECE = 64 * 1024
"""Characters that are counted in one call into C, which lets no other thread run."""
_WORD = re.compile(r"[0-9A-Za-z][^ ]*")
_ASCII_WORD = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_SPACES = re.compile(r"(?: |\\s)(?:\+|\*|\{\d+,\d*\})?")
"""Regular expressions, as normalisers have them, that match white space alone."""
_SPACE_MARKS = frozenset({" ", "\u2581"})


class TextBound(Protocol):
    """What is known of every text's number of tokens."""

    def least(self, text: str) -> int:
        """A number of tokens below which `text` cannot be."""
        ...


@dataclass(frozen=True)
class NoBound:
    """Of a tokenizer that could make a single token of any text, as far as is known."""

    def least(self, text: str) -> int:
        return 0


@dataclass(frozen=True)
class CharacterBound:
    """Of a tokenizer in which each token stands for a limited number of characters."""

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
            # Python takes all for white space that Unicode and the tokenizers do, and some more.
            count = sum(len(word) for piece in _pieces(text) for word in piece.split())
        return -(-count // per_token)


@dataclass(frozen=True)
class WordBound:
    """Of a tokenizer that takes each word alone, and may make one token of a word of any length.

    Words are parted by spaces; those that hold no ASCII letter or digit may leave no token.
    """

    words_per_token: int = 1
    """Words in the longest added token, which is found before words are parted."""

    def least(self, text: str) -> int:
        words, pieces = 0, 0
        for piece in _pieces(text):
            words += sum(1 for _ in _WORD.finditer(piece))
            pieces += 1
        # A word on the border of two pieces was counted twice.
        return -(-(words - max(pieces - 1, 0)) // self.words_per_token)


def tail_of(text: str, bound: TextBound, tokens: int) -> int:
    """Where an end of `text` begins that has `tokens` tokens for certain; 0 if none has."""
    size = max(tokens, 1)
    while size < len(text):
        if bound.least(text[-size:]) >= tokens:
            return len(text) - size
        size *= 2
    return 0


def bound_of(tokenizer: Any) -> TextBound:
    """The bound of a tokenizer of transformers; of a slow one nothing is known."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return NoBound()
    rules = json.loads(backend.to_str())
    model = rules["model"]
    added = rules.get("added_tokens") or []
    effect = _effect(rules)
    if effect is None:
        return NoBound()
    if _names_every_character(model, effect) and not effect.drops:
        longest = max(len(token) for token in _vocabulary(model))
        longest = max([longest, *(len(token["content"]) for token in added)])
        swallows = any(token["lstrip"] or token["rstrip"] for token in added)
        return CharacterBound(
            longest * effect.shrinks, effect.composes, effect.spaces_vanish or swallows
        )
    if _answers_every_word(model) and effect.parts_words and effect.shrinks == 1:
        return _word_bound(backend, added)
    return NoBound()


@dataclass
class _Effect:
    """What normalisers and pre-tokenizers do to a text before the model sees it."""

    byte_level: bool = False
    shrinks: int = 1
    """Characters that a replacement makes one of."""
    composes: bool = False
    spaces_vanish: bool = False
    drops: bool = False
    """Other characters than white space may vanish."""
    parts_words: bool = False
    """No token of the model spans a space between two words."""


def _effect(rules: Mapping[str, Any]) -> _Effect | None:
    """None where a rule is not known here."""
    effect = _Effect()
    steps = [*_steps(rules.get("normalizer")), *_steps(rules.get("pre_tokenizer"))]
    return effect if all(_apply(step, effect) for step in steps) else None


def _steps(rule: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if rule is None:
        return
    if rule["type"] != "Sequence":
        yield rule
        return
    for step in rule.get("normalizers") or rule.get("pretokenizers") or []:
        yield from _steps(step)


_HARMLESS = frozenset(
    {"NFD", "NFKD", "Lowercase", "Prepend", "Digits", "UnicodeScripts", "FixedLength"}
)
_DROPPING = frozenset({"BertNormalizer", "StripAccents", "Nmt", "Precompiled"})
_PARTING = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit"})


def _apply(step: Mapping[str, Any], effect: _Effect) -> bool:
    """Whether the rule is known."""
    kind = step["type"]
    if kind in _HARMLESS:
        return True
    if kind == "ByteLevel":
        effect.byte_level = True
    elif kind in {"NFC", "NFKC"}:
        effect.composes = True
    elif kind in _DROPPING:
        effect.drops = True
    elif kind in _PARTING:
        effect.spaces_vanish = effect.parts_words = True
    elif kind == "Strip":
        effect.spaces_vanish = True
    elif kind == "Metaspace":
        effect.parts_words = effect.parts_words or bool(step.get("split", True))
    elif kind in {"Split", "Punctuation"}:
        return bool(step["behavior"] != "Removed")
    elif kind == "Replace":
        return _replaces(step["pattern"], step["content"], effect)
    else:
        return False
    return True


def _replaces(pattern: Mapping[str, str], content: str, effect: _Effect) -> bool:
    """White space may become less of it; any other text a text of a known length."""
    if "String" in pattern and content:
        effect.shrinks *= -(-len(pattern["String"]) // len(content))
        return True
    found = pattern.get("Regex", "")
    if _SPACES.fullmatch(found) and content in _SPACE_MARKS:
        effect.spaces_vanish = True
        return True
    return False


def _names_every_character(model: Mapping[str, Any], effect: _Effect) -> bool:
    """Whether no character is unknown to the model. A run of unknown ones may become one token,
    or none."""
    kind = model.get("type")
    if kind not in {"BPE", "Unigram"}:
        return False
    known = _vocabulary(model)
    if model.get("byte_fallback") and known >= _BYTES:
        return True
    if kind == "Unigram":
        return False
    if effect.byte_level:
        return known >= _byte_characters()
    return model.get("unk_token") is not None and not model.get("fuse_unk")


def _vocabulary(model: Mapping[str, Any]) -> frozenset[str]:
    vocabulary = model["vocab"]
    # Unigram's has a score beside each.
    return frozenset(entry if isinstance(entry, str) else entry[0] for entry in vocabulary)


def _byte_characters() -> frozenset[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return frozenset(ByteLevel.alphabet())


def _answers_every_word(model: Mapping[str, Any]) -> bool:
    """Whether a word of unknown characters is a token at least."""
    return model.get("type") != "BPE" or model.get("unk_token") is not None


def _word_bound(backend: Any, added: Sequence[Mapping[str, Any]]) -> TextBound:
    """Nothing is claimed where a letter, a digit or a space between two is lost."""
    text = " ".join(_ASCII_WORD)
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    if sum(any(map(str.isalnum, word)) for word in words) < len(_ASCII_WORD):
        return NoBound()
    return WordBound(max([1, *(token["content"].count(" ") + 1 for token in added)]))


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]
