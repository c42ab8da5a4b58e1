"""What can be learnt from: answers that say something, differ, and are not over the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from trainers.base.data import Message
from trainers.base.messages import is_empty, text_length
from trainers.preferences.records import Candidate, Listwise, Pairwise, Pointwise, Preference
from trainers.preferences.tally import Tally

EMPTY_PROMPT = "empty prompt"
EMPTY_ANSWER = "empty answer"
EQUAL_ANSWERS = "equal answers"
TOO_LONG = "over the length limit"
TOO_FEW = "fewer than two usable answers"
NO_ANSWER = "no usable answer"
DUPLICATE = "the same record again"

Fits = Callable[[list[Message], list[Message]], bool]
"""Whether prompt and answer are together within the limit."""


def within_chars(limit: int) -> Fits:
    """At most this many characters of content, prompt and answer together."""
    return lambda prompt, answer: text_length(prompt) + text_length(answer) <= limit


def usable(
    preference: Preference, tally: Tally, fits: Sequence[Fits] = (), *, least: int = 2
) -> Preference | None:
    """The preference without what cannot be used, or None; every drop is counted.

    A listwise record loses single answers, and is gone itself if fewer than `least` are left.
    """
    if is_empty(preference.prompt):
        tally.drop(EMPTY_PROMPT)
        return None
    if isinstance(preference, Listwise):
        return _usable_list(preference, tally, fits, least)
    reason = _pair_fault(preference, fits)
    if reason is not None:
        tally.drop(reason)
        return None
    return preference


def _pair_fault(preference: Pairwise | Pointwise, fits: Sequence[Fits]) -> str | None:
    if isinstance(preference, Pointwise):
        return _answer_fault(preference.prompt, preference.answer, fits)
    if preference.chosen == preference.rejected:
        return EQUAL_ANSWERS
    return _answer_fault(preference.prompt, preference.chosen, fits) or _answer_fault(
        preference.prompt, preference.rejected, fits
    )


def _answer_fault(prompt: list[Message], answer: list[Message], fits: Sequence[Fits]) -> str | None:
    if is_empty(answer):
        return EMPTY_ANSWER
    return None if all(fit(prompt, answer) for fit in fits) else TOO_LONG


def _usable_list(
    preference: Listwise, tally: Tally, fits: Sequence[Fits], least: int
) -> Listwise | None:
    kept: list[Candidate] = []
    for candidate in preference.candidates:
        fault = _answer_fault(preference.prompt, candidate.answer, fits)
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
