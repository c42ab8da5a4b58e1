"""A conversation up to its last answer, as a server asks for it and as the policy writes it.

Some templates (DeepSeek R1's, QwQ's) end the prompt with `<think>` and leave the thoughts of
every answer that they are shown out. What such a policy writes is no part of any rendering: the
thoughts, `</think>`, and the answer with its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from bon_common.thinking import split_thinking
from trainers.base.bad_lines import BadLines
from trainers.base.data import Conversation, Message
from trainers.policy.rendering import conversation_text, prompt_text, text_ids

OPENED = re.compile(r"<(?P<name>(?:\w+:)?(?:think|thinking|thought))>(?P<gap>\s*)\Z")
"""The end of a prompt in which the policy's thinking has begun."""
NO_THOUGHT = "answers without reasoning, learnt as ones without a thought"
"""The prompt opens the thinking, so the policy closes it before it answers."""


@dataclass(frozen=True)
class AnsweredIds:
    prompt: list[int]
    """After which the policy writes."""
    whole: list[int]
    """With all that the template writes behind the answer. It begins with the prompt, unless a
    token spans the prompt's end or the template writes the turn otherwise."""


def answered_ids(
    tokenizer: PreTrainedTokenizerBase,
    shown: Conversation,
    where: str,
    bad: BadLines | None = None,
) -> AnsweredIds:
    """The ids of a conversation that ends with an answer; `bad` counts answers without a thought.

    Raises DataError, beginning with `where`, for messages that the template refuses.
    """
    asked = shown.first(len(shown.messages) - 1)
    before = prompt_text(tokenizer, asked, where)
    prompt = text_ids(tokenizer, before, where)
    whole = conversation_text(tokenizer, shown, where)
    opened = OPENED.search(before)
    if opened is None:
        return AnsweredIds(prompt, text_ids(tokenizer, whole, where))
    if whole.startswith(before):
        written = whole[len(before) :]
    else:
        found = _written(tokenizer, asked, shown.messages[-1], opened, where)
        if found is None:
            return AnsweredIds(prompt, text_ids(tokenizer, whole, where))
        written = found
    if bad is not None and written.lstrip().startswith(f"</{opened['name']}>"):
        bad.note(NO_THOUGHT, 1)
    ids = text_ids(tokenizer, before + written, where)
    if ids[: len(prompt)] != prompt:
        # Line breaks that meet become one token, which the policy is never asked for.
        ids = prompt + text_ids(tokenizer, written, where)
    return AnsweredIds(prompt, ids)


def opens_thinking(tokenizer: PreTrainedTokenizerBase, shown: Conversation, where: str) -> bool:
    """Whether the prompt of the last answer ends with the start of the thinking."""
    asked = shown.first(len(shown.messages) - 1)
    return OPENED.search(prompt_text(tokenizer, asked, where)) is not None


def _written(
    tokenizer: PreTrainedTokenizerBase,
    asked: Conversation,
    answer: Message,
    opened: re.Match[str],
    where: str,
) -> str | None:
    """What the policy writes behind the opened prompt; None if the template opens the thinking in
    another way than its prompt."""
    name, gap = opened["name"], opened["gap"]
    start, end = f"<{name}>", f"</{name}>"
    bare = answer.copy()
    thought = bare.pop("reasoning_content", "")
    if not thought:
        thought, rest = split_thinking(bare["content"], start, end)
        bare["content"] = bare["content"] if rest is None else rest
    whole = conversation_text(tokenizer, asked.answered([bare]), where)
    head = opened.string[: opened.start()]
    if not whole.startswith(head) or whole[len(head) :].startswith(start):
        return None
    # As the policy's family writes it: DeepSeek V3.1 has no line breaks around the marks.
    tail = whole[len(head) :].removeprefix(end).lstrip("\n")
    thought = thought.strip("\n")
    return f"{thought}{gap if thought else ''}{end}{2 * gap}{tail}"
