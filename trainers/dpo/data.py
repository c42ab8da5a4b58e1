"""Preference pairs as token ids: the prompt as a server feeds it, the answer as it is generated.

A conversation is tokenised once, whole, as the policy's server renders it; the prompt is then cut
off by its own ids. Where the two do not fit, the policy would learn from tokens that it never meets
when it is served, so those pairs are left out and counted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import model_validator
from transformers import PreTrainedTokenizerBase

from trainers.base.bad_lines import BadLines
from trainers.base.data import Pair, read_placed
from trainers.base.errors import DataError
from trainers.base.special_tokens import SPECIAL, with_special_tokens
from trainers.policy.answered import answered_ids
from trainers.policy.rendering import until_end_of_turn

WHY = (
    ". In several, a tool's words stand between the assistant's, and the policy would learn them "
    "as its own. Where both answers share the first ones, put these into the prompt"
)


class AnswerPair(Pair):
    """A pair of single assistant turns: the only form in which all of an answer is the policy's."""

    @model_validator(mode="after")
    def _answers_are_one_turn(self) -> "AnswerPair":
        for name, answer in (("chosen", self.chosen), ("rejected", self.rejected)):
            if len(answer) != 1 or answer[0]["role"] != "assistant":
                why = WHY if len(answer) > 1 else ""
                raise ValueError(f"{name}: one message of the assistant is expected{why}")
        return self


TOO_LONG = "pairs dropped as too long"
"""A side is longer than the limit, its prompt included."""
MERGED = "pairs dropped as merged with the prompt"
"""The tokenizer joins the end of the prompt with the start of an answer."""
EQUAL = "pairs dropped as equal once rendered"


@dataclass(frozen=True)
class PreferenceData:
    """Tokenised pairs, and how many were left out."""

    rows: list[dict[str, Any]]
    """`prompt_ids`, `chosen_ids`, `rejected_ids`, and the longer side's `length` in tokens."""
    dropped: dict[str, int]
    """How many pairs were left out, by reason."""


def read_pairs(
    path: Path,
    tokenizer: PreTrainedTokenizerBase,
    folder: str,
    max_length: int,
    *,
    ends: frozenset[int] | None = None,
    bad: BadLines | None = None,
) -> PreferenceData:
    """Read and tokenise a file of pairs; `folder` is where the tokenizer came from, `ends` are the
    tokens that end an answer, and `bad` counts what is skipped.

    Raises DataError for a bad line (by number) and when no pair is left; ModelError when the chat
    template does not close an answer with the end-of-turn token.
    """
    rows: list[dict[str, Any]] = []
    dropped = dict.fromkeys((TOO_LONG, MERGED, EQUAL), 0)
    bad = bad or BadLines()
    placed = read_placed(AnswerPair, path, bad)
    bad.note(SPECIAL, with_special_tokens(tokenizer, placed))
    for where, record in placed:
        refused = bad.count
        with bad.tried():
            row = tokenise_pair(tokenizer, folder, record, where, ends, bad)
        if bad.count > refused:
            continue
        if row is None:
            dropped[MERGED] += 1
        elif row["length"] > max_length:
            dropped[TOO_LONG] += 1
        elif row["chosen_ids"] == row["rejected_ids"]:
            dropped[EQUAL] += 1
        else:
            rows.append(row)
    if not rows:
        raise DataError(
            f"{path}: no pair is left: {dropped[TOO_LONG]} exceed max_length {max_length}, "
            f"{dropped[MERGED]} merge with the prompt, {dropped[EQUAL]} are equal once rendered"
            + (f", {bad.count} bad lines were skipped" if bad.count else "")
        )
    return PreferenceData(rows, dropped)


def tokenise_pair(
    tokenizer: PreTrainedTokenizerBase,
    folder: str,
    pair: Pair,
    where: str = "a pair",
    ends: frozenset[int] | None = None,
    bad: BadLines | None = None,
) -> dict[str, Any] | None:
    """One row of `PreferenceData`; None if a token spans the end of the prompt. `bad` as in
    `answered_ids`."""
    both = [
        answered_ids(tokenizer, pair.asked.answered(answer), where, bad)
        for answer in (pair.chosen, pair.rejected)
    ]
    prompt = both[0].prompt
    if any(one.whole[: len(prompt)] != prompt for one in both):
        return None
    chosen, rejected = (
        until_end_of_turn(tokenizer, folder, one.whole[len(prompt) :], ends) for one in both
    )
    return {
        "prompt_ids": prompt,
        "chosen_ids": chosen,
        "rejected_ids": rejected,
        "length": len(prompt) + max(len(chosen), len(rejected)),
    }
