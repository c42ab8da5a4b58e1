"""A judge's reply: its text after the thinking, with the tokens that make it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bon_common.messages import REASONING
from bon_common.thinking import after_all_thinking
from bon_gateway.backends.reward.judge.tokens import ReplyToken, tokens_of
from bon_gateway.thinking import ThinkingSettings

CUT = ("abort", "content_filter")
"""Finish reasons of a reply without a verdict. ``length`` is not one: a verdict of one token ends
so."""
TEXT_PARTS = ("text", "output_text")
THINKING_PARTS = ("thinking", "reasoning")
"""Types of parts that are no part of the reply's text."""
NO_ROOM = "it stopped at max_tokens while thinking; raise sampling.max_tokens"

LONGEST = 262_144
"""Longest text after the thinking, in characters, that is searched for a verdict. A longer one has
no verdict, and the search would hold up other requests."""


class NoReplyError(Exception):
    """A completion without a text to read. The message says why and quotes nothing."""


class Reply(msgspec.Struct, frozen=True):
    text: str
    """Text after the thinking, without white space around it. It may be empty if the reply is a
    single token; the probabilities of other tokens at its place are still known."""
    tokens: Sequence[ReplyToken] = ()
    """The tokens of ``text``; empty if the judge gave no log-probabilities for it."""
    listed: Sequence[Any] = ()
    """All log-probabilities that it gave."""
    cut: bool = False
    """Whether it ended at ``max_tokens``."""

    def token_at(self, place: int) -> ReplyToken:
        """The token that holds the character at ``place`` of the text. Needs tokens."""
        wanted = len(self.text[:place].encode("utf-8", "surrogatepass"))
        return next((token for token in self.tokens if token.end > wanted), self.tokens[-1])


def read_reply(answer: Mapping[str, Any], thinking: ThinkingSettings | None) -> Reply:
    """The first choice of a chat completion. Raises NoReplyError if it has no text to read: a
    refusal, a tool call, or unfinished thinking."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise NoReplyError("its answer has no message")
    finish = choice.get("finish_reason")
    if finish in CUT:
        raise NoReplyError(f"its reply was cut ({finish})")
    cut = finish == "length"
    content = _content(message)
    if cut and not (content or "").strip() and any(message.get(field) for field in REASONING):
        # A parser at the engine has taken the thinking out, and nothing follows it.
        raise NoReplyError(NO_ROOM)
    if content is None:
        raise NoReplyError("its reply has no text")
    text = _verdict_text(content, thinking, cut=cut)
    logprobs = choice.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    entries = entries if isinstance(entries, list) else []
    if len(text) > LONGEST:
        raise NoReplyError(f"its reply has more than {LONGEST:,} characters")
    if not (text.strip() or len(entries) == 1):
        raise NoReplyError("its reply is empty")
    return Reply(text.strip(), tokens_of(text.strip(), entries), entries, cut)


def _verdict_text(content: str, thinking: ThinkingSettings | None, *, cut: bool) -> str:
    if thinking is None:
        return content
    text = after_all_thinking(content, thinking.start, thinking.end)
    # Without an end mark a cut reply may be all thinking: the start mark may be in the prompt.
    if text is None or (cut and thinking.end not in content):
        raise NoReplyError(NO_ROOM if cut else "its thinking has not ended")
    return text


def _content(message: Mapping[str, Any]) -> str | None:
    """The text of the message, which some servers give in parts; None without text."""
    content = message.get("content")
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in THINKING_PARTS:
            continue
        text = part.get("text") if kind in TEXT_PARTS else None
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "".join(texts) if texts else None
