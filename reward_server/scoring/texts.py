"""Texts that the client has rendered. They are scored unchanged, without a chat template.

Clients of other servers send such texts. The reward is read at the end of a text, so a cut at its
right side changes the reward; `Cut` does it only for clients that ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

from reward_server.errors import ContextLengthError, InvalidRequestError, RenderError
from reward_server.network.sequence import Ids, Rendered, shared_tokens
from reward_server.scoring.lanes import StillWanted
from reward_server.scoring.text_bound import TextBound, head_of, tail_of
from reward_server.scoring.tokenising import Tokeniser

SURE = 64
"""Number of tokens beyond the limit that are tokenised as well: tokens at a cut end of a text may
differ from the same tokens inside it."""

RawText = str | Ids
"""A text, or the ids of its tokens."""


@dataclass(frozen=True)
class Cut:
    """How a text that is too long is cut."""

    side: Literal["left", "right"]
    """The side to cut. Special tokens at both ends stay."""
    limit: int | None = None
    """Number of tokens to keep; None takes the model's limit."""


@dataclass(frozen=True)
class Texts:
    """Texts of one request. A common beginning is computed once."""

    inputs: Sequence[RawText]
    prompt: str = ""
    """The beginning of each text, if it is known: it is cut like a conversation's prompt. Such
    texts get no special tokens and no `cut`."""
    special_tokens: bool = True
    """Add the special tokens that the tokenizer puts around a text, such as BOS."""
    cut: Cut | None = None
    """None refuses a text that is too long."""


@dataclass(frozen=True)
class TextEncoder:
    """Makes sequences of texts whose prompts are not known."""

    tokeniser: Tokeniser
    bound: TextBound
    limit: int
    """Number of tokens that the model can read."""
    item: int
    """Place of the texts in their request."""

    def encode(self, texts: Texts, still_wanted: StillWanted) -> list[Rendered]:
        """Raises RenderError, InvalidRequestError and ContextLengthError."""
        found = []
        for place, text in enumerate(texts.inputs):
            still_wanted()
            found.append(self._encode(text, texts, f"items[{self.item}].completions[{place}]"))
        return _sharing(found)

    def _encode(self, text: RawText, texts: Texts, where: str) -> Rendered:
        if isinstance(text, str):
            text = self._beginning_or_end(text, texts.cut)
            rendered = self._of_text(text, texts, where)
        else:
            rendered = self._of_ids(text, where)
        if not rendered.ids:
            raise RenderError("the text has no tokens", param=where)
        if texts.cut is not None:
            limit = min(texts.cut.limit or self.limit, self.limit)
            rendered = self._shortened(rendered, text, texts.cut.side, limit, where)
        if len(rendered.ids) > self.limit:
            raise self._too_long(str(len(rendered.ids)), where)
        return rendered

    def _beginning_or_end(self, text: str, cut: Cut | None) -> str:
        """The text without most of the part that is cut in any case: tokenising megabytes takes
        seconds."""
        tokens = self.limit + SURE
        if cut is None:
            return text
        if cut.side == "left":
            return text[tail_of(text, self.bound, tokens) :]
        return text[: head_of(text, self.bound, tokens)]

    def _of_text(self, text: str, texts: Texts, where: str) -> Rendered:
        least = self.bound.least(text)
        if texts.cut is None and least > self.limit:
            raise self._too_long(f"at least {least}", where)
        try:
            return self.tokeniser.alone(text, special_tokens=texts.special_tokens)
        except (TypeError, ValueError) as error:  # lone surrogates have no UTF-8 form
            raise RenderError("the text is not valid Unicode", param=where) from error

    def _of_ids(self, ids: Ids, where: str) -> Rendered:
        # An id beyond the vocabulary would read foreign memory and crash the process.
        for token in ids:
            if not 0 <= token < self.tokeniser.vocabulary:
                reason = f"{where}: no token has the id {token}"
                raise InvalidRequestError(reason, param=where)
        return Rendered(ids, prompt_tokens=0)

    def _shortened(
        self, rendered: Rendered, text: RawText, side: str, limit: int, where: str
    ) -> Rendered:
        """As tokenizers do it: the text's own tokens are cut, those around it stay."""
        ids, excess = rendered.ids, len(rendered.ids) - limit
        if excess <= 0:
            return rendered
        own = self.tokeniser.alone(text, special_tokens=False).ids if isinstance(text, str) else ids
        around = len(ids) - len(own)
        head = next((i for i in range(around + 1) if ids[i : i + len(own)] == own), None)
        if head is None or excess >= len(own):
            raise self._too_long(str(len(ids)), where)
        start = head if side == "left" else head + len(own) - excess
        types = rendered.token_types
        return replace(
            rendered,
            ids=ids[:start] + ids[start + excess :],
            token_types=None if types is None else types[:start] + types[start + excess :],
            truncated=True,
        )

    def _too_long(self, tokens: str, where: str) -> ContextLengthError:
        reason = f"{where}: the text is {tokens} tokens long; the limit is {self.limit}"
        return ContextLengthError(reason, param=where)


def _sharing(sequences: Sequence[Rendered]) -> list[Rendered]:
    """The sequences with their common beginning, which is computed once."""
    if len({sequence.ids for sequence in sequences}) < 2:
        return [*sequences]
    beginning = reduce(_common, [sequence.ids for sequence in sequences])
    # At least one token belongs to each alone: the one at which its reward is read.
    most = min(len(beginning), *(len(sequence.ids) - 1 for sequence in sequences))
    return [replace(sequence, prompt_tokens=most) for sequence in sequences]


def _common(left: Ids, right: Ids) -> Ids:
    return left[: shared_tokens(left, right)]
