"""Texts that hold a tokenizer's special tokens: these become the tokens themselves, so a person's
words can end a turn or begin one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel
from transformers import PreTrainedTokenizerBase

SPECIAL = "records with special tokens in their text"


def with_special_tokens(
    tokenizer: PreTrainedTokenizerBase, records: Iterable[tuple[str, BaseModel]]
) -> int:
    """The number of records in whose messages one of the tokenizer's special tokens stands."""
    tokens = {str(token) for token in tokenizer.all_special_tokens}
    tokens |= {str(one) for one in tokenizer.added_tokens_decoder.values() if one.special}
    tokens.discard("")
    if not tokens:
        return 0
    any_token = re.compile("|".join(map(re.escape, sorted(tokens))))
    return sum(any(map(any_token.search, _contents(record))) for _, record in records)


def _contents(value: object) -> Iterator[str]:
    """The content of every message, wherever a record has it."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _contents(getattr(value, name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _contents(item)
    elif isinstance(value, Mapping) and isinstance(value.get("content"), str):
        yield value["content"]
