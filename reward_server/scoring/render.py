"""From a conversation and an answer to token ids, in the reward model's own format.

Training, evaluation and serving all come through here, so that a model is scored on the
tokens that it was trained on. This module knows nothing about the network. It uses the length limit
(`room`) only to avoid tokenising in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bon_common.chat_template import TEMPLATE_ERRORS, chosen_template, without_developer
from bon_common.process_reward import StepReading
from reward_server.errors import RenderError
from reward_server.network.sequence import Ids, Rendered, shared_tokens
from reward_server.scoring.lanes import StillWanted
from reward_server.scoring.room import Room
from reward_server.scoring.steps import MarkedText, StepMarks, gaps_in, whole
from reward_server.scoring.text_bound import TextBound, bound_of
from reward_server.scoring.texts import TextEncoder, Texts
from reward_server.scoring.tokenising import Tokeniser
from reward_server.scoring.turns import Completion, Messages, Tools, answer_turn, plain_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")

SystemPrompt = Literal["keep", "drop"]

MARK = "\ufdd0\ufdd1"
"""Put behind an answer's text to find its end in the rendered conversation: two code points that
Unicode keeps out of texts."""


class Renderer:
    """Renders with a chat template, or as a (prompt, answer) pair for encoder-only models."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        chat_template: str | None = None,
        system_prompt: SystemPrompt = "keep",
        steps: StepReading | None = None,
    ) -> None:
        """Take the tokenizer's own chat template unless one is given.

        A tokenizer without any template renders pairs, which needs a fast tokenizer and no `steps`.
        Raises StepTokenError if the mark of `steps` is not one token.
        """
        self._tokenizer = tokenizer
        self._tokeniser = Tokeniser(tokenizer)
        self._template = chat_template
        self._system_prompt = system_prompt
        self._marks = None if steps is None else StepMarks(tokenizer, steps)
        self.is_pair = chat_template is None and not tokenizer.chat_template

    def render(self, messages: Messages, completion: Completion, tools: Tools = None) -> Rendered:
        """Render one candidate; see `render_all`."""
        return self.render_all(messages, [completion], tools)[0]

    @cached_property
    def bound(self) -> TextBound:
        """The fewest tokens that a text can have."""
        return bound_of(self._tokenizer)

    def render_all(
        self,
        messages: Messages,
        completions: Sequence[Completion],
        tools: Tools = None,
        *,
        open_turn: bool = False,
        unfinished: bool = False,
        room: Room | None = None,
        still_wanted: StillWanted = lambda: None,
    ) -> list[Rendered]:
        """Render every candidate of one conversation as a finished assistant turn.

        With `open_turn` the turn ends with the candidate's text, for beginnings of answers; a
        pair has no turn to close. If steps are marked, `unfinished` leaves out a last step that
        does not end with the separator. With `room` the renderer does not tokenise texts that
        cannot fit: it refuses them, or first cuts at the left the part that is lost in any case. It
        calls `still_wanted` between its steps.

        Raises RenderError, with a `param` relative to the item, for content that is not text,
        a completion that is not the assistant's, or messages that the template refuses. Raises
        ContextLengthError for what `room` refuses.
        """
        turns = self._turns(messages, tools)
        answers = [answer_turn(c, f"completions[{i}]") for i, c in enumerate(completions)]
        if self.is_pair:
            return self._pairs(turns, answers, tools, room)
        gaps: list[int] = []
        if self._marks is not None:
            answers = [
                self._marks.gapped(answer, f"completions[{i}]", unfinished=unfinished)
                for i, answer in enumerate(answers)
            ]
            gaps = [gaps_in(answer) for answer in answers]
        texts = (
            self._answered(turns, answer, tools, open_turn, f"completions[{index}]")
            for index, answer in enumerate(_while(still_wanted, answers))
        )
        prompt = self._text(turns, tools, add_generation_prompt=True)
        return self._chats(prompt, texts, room, gaps)

    def render_texts(
        self, texts: Texts, room: Room, still_wanted: StillWanted = lambda: None
    ) -> list[Rendered]:
        """Texts without the chat template, as they are. Raises ScoreError."""
        if self._marks is not None:
            reason = "a process reward model reads answers to a conversation, not plain texts"
            raise RenderError(reason, param=f"items[{room.item}].completions[0]")
        if not texts.prompt:
            encoder = TextEncoder(self._tokeniser, self.bound, room.limit, room.item)
            return encoder.encode(texts, still_wanted)
        inputs = [text for text in texts.inputs if isinstance(text, str)]
        rendered = self._chats(texts.prompt, _while(still_wanted, inputs), room)
        return [room.fit(sequence, place) for place, sequence in enumerate(rendered)]

    def prompt(
        self, messages: Messages, tools: Tools = None, *, limit: int | None = None
    ) -> tuple[Ids | None, int]:
        """The ids that candidates of a conversation begin with, perhaps but for the last few, and
        their number.

        A prompt that is certainly longer than `limit` is not tokenised: its ids are None, and the
        number is the least that it can be. A pair has no ids, since all of them depend on the
        answer. Raises RenderError.
        """
        turns = self._turns(messages, tools)
        if self.is_pair:
            return None, 0
        text = self._text(turns, tools, add_generation_prompt=True)
        least = 0 if limit is None else self.bound.least(text)
        if limit is not None and least > limit:
            return None, least
        ids, _ = self._tokenise(text, [], [])
        return ids, len(ids)

    def _turns(self, messages: Messages, tools: Tools) -> list[dict[str, Any]]:
        turns = [plain_turn(m, f"messages[{i}]") for i, m in enumerate(messages)]
        if not turns:
            raise RenderError("messages is empty", param="messages")
        template = self._template or self._tokenizer.chat_template
        turns = without_developer(turns, chosen_template(template, tools=bool(tools)))
        if self._system_prompt == "drop":
            turns = [turn for turn in turns if turn["role"] != "system"]
        return turns

    def _chats(
        self, prompt: str, texts: Iterable[str], room: Room | None, gaps: Sequence[int] = ()
    ) -> list[Rendered]:
        """Take `texts` one by one, so that none is rendered after the first that is too long."""
        start = 0 if room is None else room.start_of(prompt)
        bos = self._bos(prompt, start)
        wanted = texts if room is None else self._with_room(room, prompt, texts, start)
        prompt_ids, all_ids = self._tokenise(prompt[start:], wanted, gaps)
        rendered = []
        for index, own in enumerate(all_ids):
            if not own.ids:
                raise RenderError("renders to no tokens", param=f"completions[{index}]")
            ids = bos + own.ids
            reads = tuple(len(ids) + mark for mark in own.marks)
            fixed = int(ids[0] == self._tokenizer.bos_token_id)
            # The tokens at which a reward is read belong to the answer.
            shared = min(shared_tokens(ids, bos + prompt_ids), *reads, len(ids) - 1)
            rendered.append(Rendered(ids, shared, fixed, truncated=start > 0, reads=reads))
        return rendered

    def _with_room(
        self, room: Room, prompt: str, texts: Iterable[str], start: int
    ) -> Iterator[str]:
        mark = self._tokeniser.mark_in(prompt)
        for index, text in enumerate(texts):
            read = text if self._marks is None else self._marks.shown(text)
            room.check(read, completion=index, prompt=prompt, mark=mark)
            if not text.startswith(prompt[:start]):
                reason = "the chat template hides the prompt of a conversation that must be cut"
                raise RenderError(reason, param="messages")
            yield text[start:]

    def _bos(self, prompt: str, start: int) -> Ids:
        """The BOS token, if a cut at `start` would lose it."""
        if start == 0:
            return ()
        token, number = self._tokenizer.bos_token, self._tokenizer.bos_token_id
        begins = number is not None and prompt.startswith(str(token))
        return (int(number),) if begins else ()

    def _answered(
        self,
        turns: list[dict[str, Any]],
        answer: dict[str, Any],
        tools: Tools,
        open_turn: bool,
        where: str,
    ) -> str:
        """The template has accepted the prompt, so an error is about this answer (`where`)."""
        if not open_turn or answer.get("tool_calls"):
            return self._text([*turns, answer], tools, where)
        marked = {**answer, "content": answer["content"] + MARK}
        text, mark, _ = self._text([*turns, marked], tools, where).rpartition(MARK)
        if not mark:
            raise RenderError("the chat template hides where an answer ends", param="messages")
        return text

    def _text(
        self,
        turns: list[dict[str, Any]],
        tools: Tools,
        where: str = "messages",
        *,
        add_generation_prompt: bool = False,
    ) -> str:
        try:
            text = self._tokenizer.apply_chat_template(
                turns,
                tools=list(tools) if tools else None,  # type: ignore[arg-type]
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
            )
        except TEMPLATE_ERRORS as error:
            raise RenderError(
                f"the chat template refuses these messages: {error}", param=where
            ) from error
        return str(text)

    def _tokenise(
        self, prompt: str, texts: Iterable[str], gaps: Sequence[int]
    ) -> tuple[Ids, list[MarkedText]]:
        """Ids of a rendered prompt and of texts, in which the template has put special tokens."""
        try:
            if self._marks is None:
                prompt_ids, all_ids = self._tokeniser.candidates(prompt, texts)
                marked = whole(all_ids)
            else:
                prompt_ids, marked = self._marks.tokenised(self._tokeniser, prompt, texts, gaps)
        except (TypeError, ValueError) as error:  # lone surrogates have no UTF-8 form
            raise RenderError("the text is not valid Unicode", param="messages") from error
        bos = self._tokenizer.bos_token_id
        # Marks are counted from the end, so they stay right after a cut.
        return strip_repeated(prompt_ids, bos), [
            replace(one, ids=strip_repeated(one.ids, bos)) for one in marked
        ]

    def _pairs(
        self,
        turns: list[dict[str, Any]],
        answers: list[dict[str, Any]],
        tools: Tools,
        room: Room | None,
    ) -> list[Rendered]:
        if tools or any(answer.get("tool_calls") for answer in answers):
            raise RenderError("tools need a model with a chat template", param="tools")
        prompt = pair_prompt(turns)
        texts = [str(answer["content"]) for answer in answers]
        start = 0
        if room is not None:
            for index, text in enumerate(texts):
                room.check_pair(prompt, text, completion=index)
            start = room.start_of(prompt)
        try:
            pairs = self._tokeniser.pairs(prompt[start:], texts)
        except (TypeError, ValueError) as error:
            raise RenderError("the text is not valid Unicode", param="messages") from error
        return [replace(pair, truncated=start > 0) for pair in pairs]


def _while(still_wanted: StillWanted, answers: Sequence[T]) -> Iterator[T]:
    for answer in answers:
        still_wanted()
        yield answer
    still_wanted()


def pair_prompt(turns: Sequence[Mapping[str, Any]]) -> str:
    """Return a lone message's content, or one `role: content` line per message."""
    if len(turns) == 1:
        return str(turns[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def strip_repeated(ids: Ids, bos: int | None) -> Ids:
    """Leave one BOS at the front where the template and the tokenizer both wrote one."""
    while bos is not None and ids[:2] == (bos, bos):
        ids = ids[1:]
    return ids
