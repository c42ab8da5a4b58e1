"""Reward model and policy once more, by transformers alone: one conversation at a time.

It shares no code with the reward server, vLLM or the gateway, so that it can be their judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

TOLERANCE = 1e-4
"""What float32 may differ by between implementations."""


class Reference:
    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, num_labels=1
        )
        self._model: Any = model.eval()

    def ids(self, conversation: Sequence[Mapping[str, Any]]) -> list[int]:
        ids: list[int] = self._tokenizer.apply_chat_template(
            list(conversation), tokenize=True, return_dict=False
        )
        return ids

    def reward(self, conversation: Sequence[Mapping[str, Any]]) -> float:
        """The raw reward of the conversation's last message."""
        with torch.inference_mode():
            logits = self._model(torch.tensor([self.ids(conversation)])).logits
        return float(logits[0, 0])


@dataclass(frozen=True)
class Answer:
    """What a policy says at temperature 0."""

    prompt_ids: list[int]
    ids: list[int]
    """With the end-of-turn token, if the answer came to its end."""
    text: str
    margin: float
    """By how much the likeliest token led at its narrowest. float32 may decide a tie either way."""


class PolicyReference:
    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def greedy(self, conversation: Sequence[Mapping[str, Any]], limit: int) -> Answer:
        """The answer of at most `limit` tokens."""
        prompt: list[int] = self._tokenizer.apply_chat_template(
            list(conversation), add_generation_prompt=True, tokenize=True, return_dict=False
        )
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            found = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=limit,
                output_logits=True,
                return_dict_in_generate=True,
            )
        first, second = torch.cat(found.logits).topk(2).values.T
        answer: list[int] = found.sequences[0, len(prompt) :].tolist()
        text: str = self._tokenizer.decode(answer, skip_special_tokens=True)
        return Answer(prompt, answer, text, float((first - second).min()))
