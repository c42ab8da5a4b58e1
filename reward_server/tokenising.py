"""Tokenises the candidates of one prompt without tokenising the prompt for each of them.

A tokenizer takes added tokens, such as the marks of a chat template, out of a text before it looks
at the rest, so what stands before one has no part in the tokens behind it. Cut there, a text's
tokens are those of its two parts. Whether that holds is checked on a candidate of every request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = tuple[int, ...]
WORTH_CUTTING = 512
"""Characters of a prompt below which cutting costs more than it saves."""


class Tokeniser:
    """Texts that a chat template has rendered, special tokens included, to ids."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._marks = _marks(tokenizer)

    def candidates(self, prompt: str, texts: Sequence[str]) -> tuple[Ids, list[Ids]]:
        """The ids of a prompt and of texts that mostly begin with it.

        Raises TypeError or ValueError for text that is not valid Unicode.
        """
        cut = self._cut(prompt, texts)
        if cut == 0:
            prompt_ids, *all_ids = self._plain([prompt, *texts])
            return prompt_ids, all_ids
        first, head, *tails = self._plain(
            [texts[0], prompt[:cut], prompt[cut:], *(text[cut:] for text in texts)]
        )
        if first != head + tails[1]:
            prompt_ids, *others = self._plain([prompt, *texts[1:]])
            return prompt_ids, [first, *others]
        return head + tails[0], [head + tail for tail in tails[1:]]

    def _cut(self, prompt: str, texts: Sequence[str]) -> int:
        """Where the last mark of the prompt begins, or 0 where nothing is won by a cut."""
        if len(texts) < 3 or len(prompt) < WORTH_CUTTING:
            return 0
        cut = max((prompt.rfind(mark) for mark in self._marks), default=0)
        common = max(cut, 0)
        return common if all(text.startswith(prompt[:common]) for text in texts) else 0

    def _plain(self, texts: list[str]) -> list[Ids]:
        encoded: Any = self._tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, verbose=False
        )
        return [tuple(ids) for ids in encoded["input_ids"]]


def _marks(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Added tokens that are found in a text as they stand, whatever is beside them."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return tuple(
        token.content
        for token in added
        if not (token.lstrip or token.rstrip or token.single_word or token.normalized)
    )
