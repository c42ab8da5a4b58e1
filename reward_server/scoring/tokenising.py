"""Tokenises the candidates of one prompt without tokenising the prompt for each of them.

A tokenizer takes added tokens, such as the marks of a chat template, out of a text before it looks
at the rest. So the text before a mark does not affect the tokens behind it, and a text that is cut
at a mark has the tokens of its two parts. A candidate of every request is checked for that.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from reward_server.network.sequence import Ids, Rendered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORTH_CUTTING = 512
"""Characters of a prompt below which cutting costs more than it saves."""
LONG = 64 * 1024
"""A text of this many characters is tokenised alone."""
_SAMPLE = "Is 2 + 2 = 4?  Ja, \u00e9\u0301!\n"


class Tokeniser:
    """Texts that a chat template has rendered, special tokens included, to ids.

    Several threads may use it. A slow tokenizer is not safe for that, so it works for one of them
    at a time.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._marks = _marks(tokenizer)
        self._one_at_a_time = threading.Lock()
        self._backend = _backend(tokenizer)

    def mark_in(self, prompt: str) -> int:
        """Where the last mark of a prompt begins, or 0 where a cut there is not worth its cost."""
        if len(prompt) < WORTH_CUTTING:
            return 0
        return max((prompt.rfind(mark) for mark in self._marks), default=0)

    def candidates(self, prompt: str, texts: Iterable[str]) -> tuple[Ids, list[Ids]]:
        """The ids of a prompt and of texts that mostly begin with it.

        Keeps of each text only what differs from the prompt. Raises TypeError or ValueError for
        text that is not valid Unicode.
        """
        cut = max(self.mark_in(prompt), 0)
        head = prompt[:cut]
        heads: list[str] = []
        rests: list[str] = []
        for text in texts:
            heads.append(head if text.startswith(head) else "")
            rests.append(text[len(heads[-1]) :])
        if cut and head in heads:
            tried = heads.index(head)
            head_ids, prompt_ids, first, *ids = self._plain(
                [head, prompt[cut:], head + rests[tried], *rests]
            )
            if first == head_ids + ids[tried]:
                whole = [head_ids + own if start else own
                         for start, own in zip(heads, ids, strict=True)]  # fmt: skip
                return head_ids + prompt_ids, whole
        prompt_ids, *ids = self._plain([prompt, *map(operator.add, heads, rests)])
        return prompt_ids, ids

    def pieces(self, texts: list[str]) -> list[Ids]:
        """The ids of texts that are parts of larger ones. Raises the errors of `candidates`."""
        return self._plain(texts) if texts else []

    def pairs(self, prompt: str, texts: Sequence[str]) -> list[Rendered]:
        """A prompt with each of some answers as an encoder reads them, special tokens added.

        Raises as `candidates` does.
        """
        if self._backend is None:
            with self._one_at_a_time:
                encoded: Any = self._tokenizer([prompt] * len(texts), list(texts), verbose=False)
            types = encoded.get("token_type_ids") or [None] * len(texts)
            return [
                _pair(encoded["input_ids"][i], encoded.sequence_ids(i), types[i])
                for i in range(len(texts))
            ]
        typed = "token_type_ids" in self._tokenizer.model_input_names
        return [
            _pair(encoding.ids, encoding.sequence_ids, encoding.type_ids if typed else None)
            for encoding in self._backend.encode_batch_fast([(prompt, text) for text in texts])
        ]

    @property
    def vocabulary(self) -> int:
        """Every id is below this number."""
        return len(self._tokenizer)

    def alone(self, text: str, *, special_tokens: bool) -> Rendered:
        """A text by itself, with or without the special tokens that go around one.

        Raises as `candidates` does.
        """
        if self._backend is None:
            with self._one_at_a_time:
                encoded: Any = self._tokenizer(
                    [text], add_special_tokens=special_tokens, verbose=False
                )
            types = encoded.get("token_type_ids")
            return Rendered(
                tuple(encoded["input_ids"][0]),
                prompt_tokens=0,
                token_types=None if types is None else tuple(types[0]),
            )
        (encoding,) = self._backend.encode_batch_fast([text], add_special_tokens=special_tokens)
        typed = "token_type_ids" in self._tokenizer.model_input_names
        types = tuple(encoding.type_ids) if typed else None
        return Rendered(tuple(encoding.ids), prompt_tokens=0, token_types=types)

    def _plain(self, texts: list[str]) -> list[Ids]:
        if self._backend is not None:
            # The library shares a batch out among a few threads, which serve every request. Two
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


def _pair(
    ids: Sequence[int], segments: Sequence[int | None], types: Sequence[int] | None
) -> Rendered:
    """`segments`: 0 for the prompt's tokens, 1 for the answer's, None for special ones."""
    fixed = next(i for i, segment in enumerate([*segments, 0]) if segment is not None)
    in_prompt = [i for i, segment in enumerate(segments) if segment == 0]
    return Rendered(
        tuple(ids),
        prompt_tokens=in_prompt[-1] + 1 if in_prompt else fixed,
        fixed_tokens=fixed,
        token_types=None if types is None else tuple(types),
    )


def _called(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[Ids]:
    encoded: Any = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, verbose=False
    )
    return [tuple(ids) for ids in encoded["input_ids"]]


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    """What a fast tokenizer calls, or None where the tokenizer adds something of its own.

    A direct call for ids alone takes two fifths of the time. It also leaves no millions of Python
    objects, which would stop all threads when they are freed.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    expected = _called(tokenizer, [_SAMPLE])  # this call also turns cutting and padding off
    found = backend.encode_batch_fast([_SAMPLE], add_special_tokens=False)
    return backend if [tuple(encoding.ids) for encoding in found] == expected else None


def _marks(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Added tokens that the tokenizer finds in a text whatever stands beside them."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return tuple(
        token.content
        for token in added
        if not (token.lstrip or token.rstrip or token.single_word or token.normalized)
    )
