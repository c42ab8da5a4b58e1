"""Keeps what can be learnt from: answers that say something, differ, and are within the limit."""

from __future__ import annotations

from dataclasses import replace

from trainers.base.data import Message
from trainers.base.messages import is_empty, text_length
from trainers.preferences.records import ListedAnswer, Listwise, Pointwise, Preference
from trainers.preferences.tally import Tally

EMPTY_PROMPT = "empty prompt"
EMPTY_ANSWER = "empty answer"
EQUAL_ANSWERS = "equal answers"
TOO_LONG = "over the length limit"
TOO_FEW = "fewer than two usable answers"
NO_ANSWER = "no usable answer"
DUPLICATE = "the same record again"


def usable(
    preference: Preference, tally: Tally, max_chars: int | None = None, *, least: int = 2
) -> Preference | None:
    """The preference without what cannot be used, or None; every drop is counted.

    `max_chars` limits the characters of prompt and answer together. A listwise record loses single
    answers, and is dropped itself if fewer than `least` are left.
    """
    if is_empty(preference.prompt):
        tally.drop(EMPTY_PROMPT)
        return None
    if isinstance(preference, Listwise):
        return _usable_list(preference, tally, max_chars, least)
    if isinstance(preference, Pointwise):
        reason = _fault(preference.prompt, preference.answer, max_chars)
    elif preference.chosen == preference.rejected:
        reason = EQUAL_ANSWERS
    else:
        reason = _fault(preference.prompt, preference.chosen, max_chars) or _fault(
            preference.prompt, preference.rejected, max_chars
        )
    if reason is not None:
        tally.drop(reason)
        return None
    return preference


def _fault(prompt: list[Message], answer: list[Message], max_chars: int | None) -> str | None:
    if is_empty(answer):
        return EMPTY_ANSWER
    if max_chars is not None and text_length(prompt) + text_length(answer) > max_chars:
        return TOO_LONG
    return None


def _usable_list(
    preference: Listwise, tally: Tally, max_chars: int | None, least: int
) -> Listwise | None:
    kept: list[ListedAnswer] = []
    for candidate in preference.candidates:
        fault = _fault(preference.prompt, candidate.answer, max_chars)
        if fault is None and any(candidate.answer == other.answer for other in kept):
            fault = EQUAL_ANSWERS
        if fault is None:
            kept.append(candidate)
        else:
            tally.drop(fault)
    if len(kept) < least:
        tally.drop(TOO_FEW if least > 1 else NO_ANSWER)
        return None
    return replace(preference, candidates=tuple(kept))
