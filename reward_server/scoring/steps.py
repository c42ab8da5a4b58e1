"""Puts a mark behind each step of an answer; a process reward model is read there.

The chat template renders an answer with gaps between its steps. Each piece is then tokenised by
itself, and the mark's token is put in each gap. So the mark is always one token, next to any text,
and needs no search: a mark that an answer writes itself does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bon_common.process_reward import StepReading, split_steps
from reward_server.errors import RenderError, StepTokenError
from reward_server.network.sequence import Ids
from reward_server.scoring.tokenising import Tokeniser

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GAP = "\ufdd2\ufdd3"
"""Two code points that Unicode reserves, so no text should contain them."""


@dataclass(frozen=True)
class MarkedText:
    """The tokens of a rendered conversation with marks in its answer."""

    ids: Ids
    marks: Ids
    """Index of each mark, counted from the end: -1 is the last token."""


class StepMarks:
    """Marks the steps of answers, for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, steps: StepReading) -> None:
        """Raises StepTokenError if the mark is not one token of the vocabulary."""
        self.text = steps.mark
        self._separator = steps.separator
        ids: Any = tokenizer(
            [self.text], add_special_tokens=False, return_attention_mask=False, verbose=False
        )
        found = [int(number) for number in ids["input_ids"][0]]
        if len(found) != 1 or found[0] == tokenizer.unk_token_id:
            raise StepTokenError(
                f"{self.text!r} is no single token of the model's vocabulary: it becomes "
                f"{len(found)} tokens"
            )
        self._token = found[0]
        self._known = self.text in tokenizer.get_added_vocab()
        """Whether the tokenizer reads the mark as one token in any text, like a special token."""

    def gapped(self, answer: Mapping[str, Any], where: str, *, unfinished: bool) -> dict[str, Any]:
        """The answer with a gap behind each of its steps. Raises RenderError."""
        if answer.get("tool_calls"):
            raise RenderError("tool calls have no steps that can be scored", param=where)
        text = str(answer["content"]).replace(GAP, "")
        if self._known:
            # A policy that learnt from marked answers writes the mark itself.
            text = text.replace(self.text, self._separator)
        steps = split_steps(text, self._separator, unfinished=unfinished)
        return {**answer, "content": "".join(step + GAP for step in steps)}

    def shown(self, text: str) -> str:
        """A rendered text as the model reads it."""
        return text.replace(GAP, self.text)

    def tokenised(
        self, tokeniser: Tokeniser, prompt: str, texts: Iterable[str], gaps: Sequence[int]
    ) -> tuple[Ids, list[MarkedText]]:
        """The ids of a prompt and of rendered texts. Each text comes with the number of gaps in its
        answer; see `Tokeniser.candidates`.

        Raises RenderError for a text whose gaps the template has lost.
        """
        # Counted from the end: a user's message may hold anything, and stands before the answer.
        pieces = [text.rsplit(GAP, count) for text, count in zip(texts, gaps, strict=True)]
        for index, (parts, count) in enumerate(zip(pieces, gaps, strict=True)):
            if len(parts) <= count:
                reason = "the chat template hides the steps of an answer"
                raise RenderError(reason, param=f"completions[{index}]")
        prompt_ids, firsts = tokeniser.candidates(prompt, (parts[0] for parts in pieces))
        rest = iter(tokeniser.pieces([part for parts in pieces for part in parts[1:]]))
        marked = []
        for first, parts in zip(firsts, pieces, strict=True):
            ids, marks = list(first), []
            for _ in parts[1:]:
                marks.append(len(ids))
                ids += (self._token, *next(rest))
            marked.append(MarkedText(tuple(ids), tuple(mark - len(ids) for mark in marks)))
        return prompt_ids, marked


def gaps_in(answer: Mapping[str, Any]) -> int:
    """Number of gaps in an answer that `StepMarks.gapped` made."""
    return str(answer["content"]).count(GAP)


def whole(sequences: Sequence[Ids]) -> list[MarkedText]:
    """Texts without marks."""
    return [MarkedText(ids, ()) for ids in sequences]
