"""The prompts of the run, and which of them an iteration gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from trainers.base.bad_lines import BadLines
from trainers.base.data import Conversation, PromptRecord, read_placed
from trainers.base.errors import DataError
from trainers.base.seeds import seeded
from trainers.base.special_tokens import SPECIAL, with_special_tokens
from trainers.policy.drawn_calls import DrawnCalls
from trainers.policy.rendering import prompt_ids


@dataclass(frozen=True)
class TokenisedPrompt:
    """One prompt, as the file holds it and as the policy reads it."""

    asked: Conversation
    ids: list[int]
    """Ends with the template's opening of the assistant's turn."""


@dataclass(frozen=True)
class PromptSet:
    """Distinct prompts that are short enough, in the order of the file."""

    prompts: list[TokenisedPrompt]
    repeated: int
    """Dropped because an earlier line has the same prompt."""
    too_long: int
    """Dropped because of their length."""


def read_prompt_set(
    path: Path, tokenizer: PreTrainedTokenizerBase, max_tokens: int, bad: BadLines | None = None
) -> PromptSet:
    """Read, tokenise and filter. Raises DataError for a bad line, unless `bad` counts them, and if
    nothing is left."""
    bad = bad or BadLines()
    records = read_placed(PromptRecord, path, bad)
    bad.note(SPECIAL, with_special_tokens(tokenizer, records))
    distinct: dict[str, tuple[str, Conversation]] = {}
    for where, record in records:
        distinct.setdefault(record.asked.key, (where, record.asked))
    prompts, calls = [], DrawnCalls(tokenizer)
    for where, asked in distinct.values():
        with bad.tried():
            calls.require(asked, where)
            prompts.append(TokenisedPrompt(asked, prompt_ids(tokenizer, asked, where)))
    short = [prompt for prompt in prompts if len(prompt.ids) <= max_tokens]
    if not short:
        raise DataError(f"{path}: every prompt exceeds max_prompt_tokens {max_tokens}")
    return PromptSet(short, len(records) - len(distinct), len(prompts) - len(short))


def prompts_of(iteration: int, per_iteration: int, count: int, seed: int) -> list[int]:
    """Indices of the prompts of an iteration, counted from 0.

    Each pass over the prompts shuffles them anew. The order follows from the arguments alone, so
    that a resumed run goes on in it.
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
