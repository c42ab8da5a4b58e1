"""From a conversation and an answer to token ids, in the reward model's own format.

Training, evaluation and serving all come through here, so that a model is scored on the
tokens that it was trained on. Knows nothing about the network or its length limit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import jinja2

from bon_common.developer_role import without_developer
from reward_server.errors import RenderError
from reward_server.tokenising import Tokeniser

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SystemPrompt = Literal["keep", "drop"]

MARK = "\ufdd0\ufdd1"
"""Behind an answer's text, to find its end in what a template makes of it: two code points that
Unicode keeps out of texts."""

TEMPLATE_ERRORS = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError)
"""What a template raises on messages that it was not written for."""


@dataclass(frozen=True)
class Rendered:
    """One sequence for the model."""

    ids: tuple[int, ...]
    prompt_tokens: int
    """Leading tokens that do not depend on the answer."""
    fixed_tokens: int = 0
    """Leading special tokens (BOS, CLS) that a cut of the prompt must keep."""
    token_types: tuple[int, ...] | None = None
    """Segment ids of an encoder pair; None where the model has none."""
    truncated: bool = False


class Renderer:
    """Renders with a chat template, or as a (prompt, answer) pair for encoder-only models."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        chat_template: str | None = None,
        system_prompt: SystemPrompt = "keep",
    ) -> None:
        """Take the tokenizer's own chat template unless one is given.

        A tokenizer without any template renders pairs, which needs a fast tokenizer.
        """
        self._tokenizer = tokenizer
        self._tokeniser = Tokeniser(tokenizer)
        self._template = chat_template
        self._system_prompt = system_prompt
        self.is_pair = chat_template is None and not tokenizer.chat_template

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        completion: Mapping[str, Any] | str,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> Rendered:
        """Render one candidate; see `render_all`."""
        return self.render_all(messages, [completion], tools)[0]

    def render_all(
        self,
        messages: Sequence[Mapping[str, Any]],
        completions: Sequence[Mapping[str, Any] | str],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        open_turn: bool = False,
    ) -> list[Rendered]:
        """Render every candidate of one conversation as a finished assistant turn.

        With `open_turn` the turn ends with the candidate's text, for beginnings of answers; a
        pair has no turn to close.

        Raises RenderError, with a `param` relative to the item, for content that is not text,
        a completion that is not the assistant's, or messages that the template refuses.
        """
        turns = self._turns(messages)
        answers = [_answer(c, f"completions[{i}]") for i, c in enumerate(completions)]
        if self.is_pair:
            return self._pairs(turns, answers, tools)
        return self._chats(turns, answers, tools, open_turn)

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> tuple[int, ...] | None:
        """The tokens that candidates of a conversation will begin with, but for the last few
        perhaps; None for pairs, whose tokens all depend on the answer. Raises RenderError."""
        turns = self._turns(messages)
        if self.is_pair:
            return None
        text = self._text(turns, tools, add_generation_prompt=True)
        return self._tokenise(text, [])[0]

    def _turns(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        turns = [_plain(m, f"messages[{i}]") for i, m in enumerate(messages)]
        if not turns:
            raise RenderError("messages is empty", param="messages")
        turns = without_developer(turns, self._template or self._tokenizer.chat_template)
        if self._system_prompt == "drop":
            turns = [turn for turn in turns if turn["role"] != "system"]
        return turns

    def _chats(
        self,
        turns: list[dict[str, Any]],
        answers: list[dict[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        open_turn: bool,
    ) -> list[Rendered]:
        prompt = self._text(turns, tools, add_generation_prompt=True)
        texts = [
            self._answered(turns, answer, tools, open_turn, f"completions[{index}]")
            for index, answer in enumerate(answers)
        ]
        prompt_ids, *all_ids = self._tokenise(prompt, texts)
        bos = self._tokenizer.bos_token_id
        rendered = []
        for index, ids in enumerate(all_ids):
            if not ids:
                raise RenderError("renders to no tokens", param=f"completions[{index}]")
            has_bos = bos is not None and ids[0] == bos
            rendered.append(Rendered(ids, common_prefix(ids, prompt_ids), int(has_bos)))
        return rendered

    def _answered(
        self,
        turns: list[dict[str, Any]],
        answer: dict[str, Any],
        tools: Sequence[Mapping[str, Any]] | None,
        open_turn: bool,
        where: str,
    ) -> str:
        """The prompt has been rendered already, so what is refused now is this answer (`where`)."""
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
        tools: Sequence[Mapping[str, Any]] | None,
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

    def _tokenise(self, prompt: str, texts: list[str]) -> list[tuple[int, ...]]:
        """Ids of a rendered prompt and of texts; the template has written the special tokens."""
        try:
            prompt_ids, all_ids = self._tokeniser.candidates(prompt, texts)
        except (TypeError, ValueError) as error:  # lone surrogates have no UTF-8 form
            raise RenderError("the text is not valid Unicode", param="messages") from error
        bos = self._tokenizer.bos_token_id
        return [strip_repeated(ids, bos) for ids in (prompt_ids, *all_ids)]

    def _pairs(
        self,
        turns: list[dict[str, Any]],
        answers: list[dict[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
    ) -> list[Rendered]:
        if tools or any(answer.get("tool_calls") for answer in answers):
            raise RenderError("tools need a model with a chat template", param="tools")
        prompt = pair_prompt(turns)
        texts = [str(answer["content"]) for answer in answers]
        try:
            encoded = self._tokenizer([prompt] * len(texts), texts, verbose=False)
        except (TypeError, ValueError) as error:
            raise RenderError("the text is not valid Unicode", param="messages") from error
        rendered = []
        for index in range(len(texts)):
            segments = encoded.sequence_ids(index)
            fixed = next(i for i, s in enumerate([*segments, 0]) if s is not None)
            in_prompt = [i for i, s in enumerate(segments) if s == 0]
            types = encoded.get("token_type_ids")
            rendered.append(
                Rendered(
                    tuple(encoded["input_ids"][index]),
                    prompt_tokens=in_prompt[-1] + 1 if in_prompt else fixed,
                    fixed_tokens=fixed,
                    token_types=None if types is None else tuple(types[index]),
                )
            )
        return rendered


def pair_prompt(turns: Sequence[Mapping[str, Any]]) -> str:
    """Return a lone message's content, or one `role: content` line per message."""
    if len(turns) == 1:
        return str(turns[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def common_prefix(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    """Count the leading tokens that both have, at most all but the last of `left`."""
    shared = min(len(left) - 1, len(right))
    if left[:shared] == right[:shared]:  # the usual case, without a loop
        return shared
    return next(i for i in range(shared) if left[i] != right[i])


def strip_repeated(ids: tuple[int, ...], bos: int | None) -> tuple[int, ...]:
    """Leave one BOS at the front where the template and the tokenizer both wrote one."""
    while bos is not None and ids[:2] == (bos, bos):
        ids = ids[1:]
    return ids


def _answer(completion: Mapping[str, Any] | str, where: str) -> dict[str, Any]:
    if isinstance(completion, str):
        return {"role": "assistant", "content": completion}
    turn = _plain({"role": "assistant", **completion}, where)
    if turn["role"] != "assistant":
        raise RenderError("a completion is an assistant message", param=f"{where}.role")
    return turn


def _plain(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the message as templates expect it: text content, decoded tool arguments."""
    if not isinstance(message.get("role"), str):
        raise RenderError("role must be a string", param=f"{where}.role")
    plain = {**message, "content": _content(message.get("content"), f"{where}.content")}
    calls = message.get("tool_calls")
    if calls is None:
        plain.pop("tool_calls", None)
    elif isinstance(calls, list) and all(isinstance(call, Mapping) for call in calls):
        plain["tool_calls"] = [decoded_call(call) for call in calls]
    else:
        raise RenderError("tool_calls must be a list of objects", param=f"{where}.tool_calls")
    return plain


def _content(content: object, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for part in content if isinstance(content, list) else [None]:
        text = part.get("text") if isinstance(part, Mapping) else None
        if not isinstance(text, str):
            raise RenderError("only text content can be scored", param=where)
        texts.append(text)
    # As vLLM joins them, so that policy and reward model read the same prompt.
    return "\n".join(texts)


def decoded_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Decode `function.arguments`: OpenAI sends a JSON string, templates print an object."""
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return dict(call)
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}}
