"""The prompts of the run, and which of them an iteration gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from trainers.base.data import Message, Prompt, read_placed
from trainers.base.errors import DataError
from trainers.base.seeds import seeded
from trainers.policy.rendering import prompt_ids


@dataclass(frozen=True)
class PromptToAnswer:
    """One prompt as people and as the policy read it."""

    messages: list[Message]
    ids: list[int]
    """Ends with the template's opening of the assistant's turn."""


@dataclass(frozen=True)
class PromptSet:
    """Distinct prompts that are short enough, in the order of the file."""

    prompts: list[PromptToAnswer]
    repeated: int
    """Dropped because an earlier line has the same prompt."""
    too_long: int
    """Dropped because of their length."""


def read_prompts(path: Path, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> PromptSet:
    """Read, tokenise and filter. Raises DataError for a bad line, and if nothing is left."""
    records = read_placed(Prompt, path)
    distinct: dict[str, tuple[str, list[Message]]] = {}
    for where, record in records:
        distinct.setdefault(_key(record.prompt), (where, record.prompt))
    prompts = [
        PromptToAnswer(messages, prompt_ids(tokenizer, messages, where))
        for where, messages in distinct.values()
    ]
    short = [prompt for prompt in prompts if len(prompt.ids) <= max_tokens]
    if not short:
        raise DataError(f"{path}: every prompt exceeds max_prompt_tokens {max_tokens}")
    return PromptSet(short, len(records) - len(distinct), len(prompts) - len(short))


def _key(messages: list[Message]) -> str:
    return repr([sorted(message.items()) for message in messages])


def prompts_of(iteration: int, per_iteration: int, count: int, seed: int) -> list[int]:
    """Indices of the prompts of an iteration, counted from 0.

    The prompts are shuffled anew for each pass over them. Computed from the arguments alone, so
    that a resumed run goes on in the same order.
    """
    first = iteration * per_iteration
    order: dict[int, list[int]] = {}
    indices = []
    for place in range(first, first + per_iteration):
        turn, index = divmod(place, count)
        if turn not in order:
            order[turn] = torch.randperm(count, generator=seeded(seed, "prompts", turn)).tolist()
        indices.append(order[turn][index])
    return indices
