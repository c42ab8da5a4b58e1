"""Tokenises the candidates of one prompt without tokenising the prompt for each of them.

A tokenizer takes added tokens, such as the marks of a chat template, out of a text before it looks
at the rest, so what stands before one has no part in the tokens behind it. Cut there, a text's
tokens are those of its two parts. Whether that holds is checked on a candidate of every request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reward_server.network.sequence import Ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORTH_CUTTING = 512
"""Characters of a prompt below which cutting costs more than it saves."""
LONG = 64 * 1024
"""Characters of a text that is tokenised alone."""
_SAMPLE = "Is 2 + 2 = 4?  Ja, \u00e9\u0301!\n"


@dataclass(frozen=True)
class Pair:
    """A prompt and an answer as an encoder reads them."""

    ids: Ids
    segments: tuple[int | None, ...]
    """0 for the prompt's tokens, 1 for the answer's, None for special ones."""
    types: Ids | None
    """Segment ids for the network; None where it has none."""


class Tokeniser:
    """Texts that a chat template has rendered, special tokens included, to ids.

    May be used by several threads. A slow tokenizer, which has no such promise, works for one of
    them at a time.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._marks = _marks(tokenizer)
        self._one_at_a_time = threading.Lock()
        self._backend = _backend(tokenizer)

    def mark_in(self, prompt: str) -> int:
        """Where the last mark of a prompt begins, or 0 where a cut there is not worth it."""
        if len(prompt) < WORTH_CUTTING:
            return 0
        return max((prompt.rfind(mark) for mark in self._marks), default=0)

    def candidates(self, prompt: str, texts: Iterable[str]) -> tuple[Ids, list[Ids]]:
        """The ids of a prompt and of texts that mostly begin with it.

        Of `texts` no more is kept than differs from the prompt. Raises TypeError or ValueError for
        text that is not valid Unicode.
        """
        cut = max(self.mark_in(prompt), 0)
        if cut == 0:
            prompt_ids, *all_ids = self._plain([prompt, *texts])
            return prompt_ids, all_ids
        head = prompt[:cut]
        parts = [_Part.of(text, head) for text in texts]
        tried = next((i for i, part in enumerate(parts) if part.follows), None)
        if tried is None:
            prompt_ids, *all_ids = self._plain([prompt, *(part.text for part in parts)])
            return prompt_ids, all_ids
        head_ids, rest, first, *ids = self._plain(
            [head, prompt[cut:], head + parts[tried].text, *(part.text for part in parts)]
        )
        if first != head_ids + ids[tried]:
            prompt_ids, *all_ids = self._plain([prompt, *(part.whole(head) for part in parts)])
            return prompt_ids, all_ids
        whole = [head_ids + own if p.follows else own for p, own in zip(parts, ids, strict=True)]
        return head_ids + rest, whole

    def pairs(self, prompt: str, texts: Sequence[str]) -> list[Pair]:
        """A prompt with each of some answers, special tokens added. Raises as `candidates`."""
        if self._backend is None:
            return self._slow_pairs(prompt, texts)
        typed = "token_type_ids" in self._tokenizer.model_input_names
        return [
            Pair(tuple(e.ids), tuple(e.sequence_ids), tuple(e.type_ids) if typed else None)
            for e in self._backend.encode_batch_fast([(prompt, text) for text in texts])
        ]

    def _slow_pairs(self, prompt: str, texts: Sequence[str]) -> list[Pair]:
        with self._one_at_a_time:
            encoded: Any = self._tokenizer([prompt] * len(texts), list(texts), verbose=False)
        types = encoded.get("token_type_ids")
        return [
            Pair(
                tuple(encoded["input_ids"][i]),
                tuple(encoded.sequence_ids(i)),
                None if types is None else tuple(types[i]),
            )
            for i in range(len(texts))
        ]

    def _plain(self, texts: list[str]) -> list[Ids]:
        if self._backend is not None:
            # A batch is shared out among a few threads of the library's, which serve everybody: two
            # long texts at once would take them all, and the short ones of others would wait.
            together = max(map(len, texts)) < LONG
            batches = [texts] if together else [[text] for text in texts]
            return [
                tuple(encoding.ids)
                for batch in batches
                for encoding in self._backend.encode_batch_fast(batch, add_special_tokens=False)
            ]
        with self._one_at_a_time:
            return _called(self._tokenizer, texts)


@dataclass(frozen=True)
class _Part:
    """What is kept of a text."""

    text: str
    follows: bool
    """It belongs behind the prompt's head; otherwise it is the whole text."""

    @classmethod
    def of(cls, text: str, head: str) -> _Part:
        follows = text.startswith(head)
        return cls(text[len(head) :] if follows else text, follows)

    def whole(self, head: str) -> str:
        return head + self.text if self.follows else self.text


def _called(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[Ids]:
    encoded: Any = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, verbose=False
    )
    return [tuple(ids) for ids in encoded["input_ids"]]


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    """What a fast tokenizer calls, or None where it adds something of its own.

    Asked directly, for ids alone, it takes two fifths of the time and leaves no objects of Python's
    by the million, which stop all threads when they are freed.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    expected = _called(tokenizer, [_SAMPLE])  # which turns cutting and padding off, too
    found = backend.encode_batch_fast([_SAMPLE], add_special_tokens=False)
    return backend if [tuple(encoding.ids) for encoding in found] == expected else None


def _marks(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Added tokens that are found in a text as they stand, whatever is beside them."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return tuple(
        token.content
        for token in added
        if not (token.lstrip or token.rstrip or token.single_word or token.normalized)
    )
