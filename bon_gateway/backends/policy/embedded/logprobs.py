"""OpenAI's logprobs entries for the model's own distribution.

They are taken before bias, penalties, temperature and filters, as in vLLM by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST = -9999.0
"""Stands for minus infinity, which JSON does not have."""


class TokenTable:
    """The text and the bytes of single tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._alphabet = _byte_alphabet() if _is_byte_level(tokenizer) else None
        self._special = set(tokenizer.get_added_vocab().values())

    def entry(self, token: int, logprob: float) -> dict[str, Any]:
        """``token``, ``logprob`` and ``bytes`` of one token id."""
        text = self._tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return {
            "token": text,
            "logprob": max(logprob, LEAST),
            "bytes": list(self._bytes(token, str(text))),
        }

    def _bytes(self, token: int, text: str) -> bytes:
        """The token's own bytes. If a character spans several tokens, each has some of its
        bytes."""
        if self._alphabet is not None and token not in self._special:
            name = self._tokenizer.convert_ids_to_tokens(token)
            if isinstance(name, str) and all(char in self._alphabet for char in name):
                return bytes(self._alphabet[char] for char in name)
        return text.encode("utf-8", errors="replace")


def entries(logits: Tensor, tokens: Tensor, top: int, table: TokenTable) -> list[dict[str, Any]]:
    """One entry for each row: logits [M, V] float32, the tokens drawn [M], ``top`` alternatives.

    The alternatives are the most likely tokens, best first, whether drawn or not.
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    drawn = logprobs.gather(1, tokens[:, None])[:, 0].tolist()
    best = logprobs.topk(top, dim=-1) if top else None
    values = best.values.tolist() if best else [[]] * len(drawn)
    indices = best.indices.tolist() if best else [[]] * len(drawn)
    return [
        {
            **table.entry(token, logprob),
            "top_logprobs": [
                table.entry(other, value) for other, value in zip(others, row, strict=True)
            ],
        }
        for token, logprob, others, row in zip(tokens.tolist(), drawn, indices, values, strict=True)
    ]


def _is_byte_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and "ByteLevel" in repr(backend.decoder)


def _byte_alphabet() -> dict[str, int]:
    """The characters with which byte-level tokenizers write the 256 bytes (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    return alphabet | {chr(256 + place): byte for place, byte in enumerate(others)}
