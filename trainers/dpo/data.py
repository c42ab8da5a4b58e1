"""Preference pairs as token ids: the prompt as a server feeds it, the answer as it is generated.

A conversation is tokenised once, whole, through the renderer that the reward server uses; the
prompt is then cut off by its own ids. Where the two do not fit, the policy would learn from
tokens that it never meets when it is served, so those pairs are left out and counted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import model_validator
from transformers import PreTrainedTokenizerBase

from reward_server.scoring.render import Renderer
from trainers.base.data import Pair, read_placed
from trainers.base.errors import DataError
from trainers.base.template import refusals
from trainers.policy.rendering import prompt_ids, until_end_of_turn

__all__ = ["AnswerPair", "PreferenceData", "prompt_ids", "read_pairs", "tokenise_pair"]


class AnswerPair(Pair):
    """A pair of single assistant turns: the only form in which all of an answer is the policy's."""

    @model_validator(mode="after")
    def _answers_are_one_turn(self) -> "AnswerPair":
        for name, answer in (("chosen", self.chosen), ("rejected", self.rejected)):
            if len(answer) != 1 or answer[0]["role"] != "assistant":
                raise ValueError(f"{name}: one message of the assistant is expected")
        return self


@dataclass(frozen=True)
class PreferenceData:
    """Tokenised pairs, and how many were left out for which reason."""

    rows: list[dict[str, Any]]
    """`prompt_ids`, `chosen_ids`, `rejected_ids`, and the longer side's `length` in tokens."""
    too_long: int
    """Pairs with a side that is longer than the limit, its prompt included."""
    merged: int
    """Pairs in which the tokenizer joins the end of the prompt with the start of an answer."""
    equal: int
    """Pairs whose answers the chat template renders alike."""

    def dropped(self) -> dict[str, int]:
        """The counts under readable names."""
        return {
            "pairs dropped as too long": self.too_long,
            "pairs dropped as merged with the prompt": self.merged,
            "pairs dropped as equal once rendered": self.equal,
        }


def read_pairs(
    path: Path, tokenizer: PreTrainedTokenizerBase, folder: str, max_length: int
) -> PreferenceData:
    """Read and tokenise a file of pairs; `folder` is where the tokenizer came from.

    Raises DataError for a bad line (by number) and when no pair is left; ModelError when the chat
    template does not close an answer with the end-of-turn token.
    """
    rows: list[dict[str, Any]] = []
    too_long = merged = equal = 0
    for where, record in read_placed(AnswerPair, path):
        row = tokenise_pair(tokenizer, folder, record, where)
        if row is None:
            merged += 1
        elif row["length"] > max_length:
            too_long += 1
        elif row["chosen_ids"] == row["rejected_ids"]:
            equal += 1
        else:
            rows.append(row)
    if not rows:
        raise DataError(
            f"{path}: no pair is left: {too_long} exceed max_length {max_length}, "
            f"{merged} merge with the prompt, {equal} are equal once rendered"
        )
    return PreferenceData(rows, too_long, merged, equal)


def tokenise_pair(
    tokenizer: PreTrainedTokenizerBase, folder: str, pair: Pair, where: str = "a pair"
) -> dict[str, Any] | None:
    """One row of `PreferenceData`; None if a token spans the end of the prompt."""
    prompt = prompt_ids(tokenizer, pair.prompt, where)
    with refusals(where):
        rendered = Renderer(tokenizer).render_all(pair.prompt, [pair.chosen[0], pair.rejected[0]])
    wholes = [list(side.ids) for side in rendered]
    if any(whole[: len(prompt)] != prompt for whole in wholes):
        return None
    chosen, rejected = (
        until_end_of_turn(tokenizer, folder, whole[len(prompt) :]) for whole in wholes
    )
    return {
        "prompt_ids": prompt,
        "chosen_ids": chosen,
        "rejected_ids": rejected,
        "length": len(prompt) + max(len(chosen), len(rejected)),
    }
