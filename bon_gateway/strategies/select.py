"""From the candidates to the Selection: the winner, or the true error if there is none."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bon_gateway.errors import (
    BadRequestError,
    GatewayError,
    NoConfidenceError,
    NoValidCandidateError,
    PolicyRefusedError,
)
from bon_gateway.strategies.decide import USABLE, all_empty
from bon_gateway.strategies.draw import Drawn
from bon_gateway.strategies.saved import saved_tokens
from bon_gateway.strategies.validity import UNCHECKED
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Completion, Selection, Usage
from bon_gateway.verdicts import ONLY_CALLS, VerdictOutcome

FAILURES_TOLD = 5
WORD = re.compile(r"[a-z0-9_]{1,60}")


def check_top(request: ChatRequest, drawn: int) -> None:
    """Raises BadRequestError if the client's ``n`` asks for more answers than are drawn."""
    if request.top <= drawn:
        return
    if request.greedy:
        message = (
            f"n must be 1 at temperature 0, which gives one distinct sample; got {request.top}"
        )
    else:
        message = f"n must be at most {drawn}, the number of candidates drawn; got {request.top}"
    raise BadRequestError(message, param="n")


def select(
    drawn: Drawn,
    request: ChatRequest,
    order: Sequence[int],
    strategy: str,
    fallback: Literal["first", "confidence", "error"],
    *,
    by_confidence: bool = False,
    plain: int | None = None,
) -> Selection:
    """Choose as many of ``drawn`` as the client asked for. ``order`` has the indices of the
    candidates that may win, best first; ``by_confidence`` says that confidences made it.
    ``plain`` is the n of the best-of-n whose tokens these are compared with.

    Candidates that a verifier failed are chosen only if all failed and ``drawn.refuted_may_win``.
    If the reward model failed, scored candidates go before unscored ones; if none is scored,
    ``fallback`` decides. Raises the candidates' own error if none is usable, NoValidCandidateError
    if they were produced but may not win. If the fallback is ``error``, raises RewardError, or
    NoConfidenceError if confidences should have decided and there are none. A reward error that may
    pass goes before a refusal.
    """
    order = order or all_empty(drawn.candidates)
    if not order:
        raise _no_winner(drawn.candidates)
    verified = [position for position in order if not drawn.candidates[position].refuted]
    if not verified and not drawn.refuted_may_win:
        raise _all_refuted(drawn.candidates)
    order = verified or order
    if (
        drawn.reward_errors
        and fallback == "error"
        and all(candidate.reward is None for candidate in drawn.candidates)
    ):
        raise drawn.reward_errors[0]
    confidence_lost = by_confidence and _lacks_confidence(drawn.candidates)
    if (
        confidence_lost
        and fallback == "error"
        and all(candidate.confidence is None for candidate in drawn.candidates)
    ):
        raise NoConfidenceError("the policy gave no log-probabilities to choose by")
    winners = tuple(order[: request.top])
    winner_tokens = sum([drawn.candidates[p].paid_tokens for p in winners])
    prompts = _prompts(drawn.candidates)
    completions = [completion for alike in prompts for completion in alike]
    return Selection(
        winners=winners,
        candidates=drawn.candidates,
        strategy=strategy,
        n=len(drawn.candidates),
        usage=Usage(
            prompt_tokens=sum([max([c.prompt_tokens for c in alike]) for alike in prompts]),
            winner_tokens=winner_tokens,
            discarded_tokens=sum([c.paid_tokens for c in drawn.candidates]) - winner_tokens,
            reward_tokens=drawn.reward_tokens,
            judging=drawn.judging,
            prompt_details=_prompt_details(prompts),
            completion_details=_summed([c.completion_details for c in completions]),
        ),
        timings=drawn.timings,
        degraded=(
            *_degraded(drawn),
            *(["confidence_unavailable"] if confidence_lost else ()),
            *(["chosen_by_confidence"] if _stood_in(drawn, winners, by_confidence) else ()),
            *(["fewer_choices"] if len(winners) < request.top else ()),
        ),
        rounds=drawn.rounds,
        stopped=drawn.stopped,
        saved_tokens=None if plain is None else saved_tokens(drawn.candidates, plain),
        pruning=drawn.pruning,
        left_out=drawn.left_out,
    )


def _prompts(candidates: Sequence[Candidate]) -> list[list[Completion]]:
    """The completions by their prompt: each variant has its own. Cached completions count for none,
    because no prompt was read for them now."""
    found: defaultdict[str | None, list[Completion]] = defaultdict(list)
    for candidate in candidates:
        if candidate.completion is not None and not candidate.cached:
            found[candidate.variant].append(candidate.completion)
    return [*found.values()]


def _prompt_details(prompts: Sequence[Sequence[Completion]]) -> Mapping[str, Any] | None:
    """Those of the one prompt as they came, or the sums over several prompts."""
    details = [
        next((c.prompt_details for c in alike if c.prompt_details), None) for alike in prompts
    ]
    return details[0] if len(details) == 1 else _summed(details)


def _summed(details: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The sum of each count; None if there are no counts."""
    total: defaultdict[str, int] = defaultdict(int)
    for counts in details:
        if counts is None:
            continue
        for name, count in counts.items():
            if isinstance(count, int):
                total[name] += count
    return dict(total) or None


def _lacks_confidence(candidates: Sequence[Candidate]) -> bool:
    return any(c.confidence is None for c in candidates if c.status in USABLE)


def _stood_in(drawn: Drawn, winners: Sequence[int], by_confidence: bool) -> bool:
    """Whether confidence chose in the place of rewards."""
    chosen = drawn.candidates[winners[0]].confidence is not None
    return by_confidence and chosen and bool(drawn.reward_errors)


def _degraded(drawn: Drawn) -> list[str]:
    reasons = []
    if drawn.deadline_passed:
        reasons.append("deadline")
    if CandidateStatus.FAILED in [c.status for c in drawn.candidates]:
        reasons.append("candidates_failed")
    if UNCHECKED in [c.reason for c in drawn.candidates]:
        reasons.append("unchecked")
    usable = [c for c in drawn.candidates if c.status in USABLE]
    if usable and all(c.refuted for c in usable):
        reasons.append("verification_failed")
    if any(_unverified(c) for c in usable):
        reasons.append("verification_abstained")
    reasons += dict.fromkeys([error.loss for error in drawn.reward_errors])
    if drawn.left_out:
        reasons.append("rewards_left_out")
    return reasons


def _unverified(candidate: Candidate) -> bool:
    """Whether it may win although a verifier that applies to it could not say."""
    return not candidate.refuted and any(
        verdict.outcome is VerdictOutcome.ABSTAIN and verdict.reason != ONLY_CALLS
        for verdict in (candidate.verdicts or {}).values()
    )


def _all_refuted(candidates: Sequence[Candidate]) -> NoValidCandidateError:
    """It says how many candidates each verifier failed, and why if the reason is a word. Other
    reasons may quote the answer."""
    failures = Counter(
        f"{name}: {verdict.reason}" if WORD.fullmatch(verdict.reason or "") else name
        for candidate in candidates
        for name, verdict in (candidate.verdicts or {}).items()
        if verdict.outcome is VerdictOutcome.FAIL
    )
    told = ", ".join(f"{what} ({n})" for what, n in failures.most_common(FAILURES_TOLD))
    return NoValidCandidateError(f"the verifiers failed all candidates: {told}")


def _no_winner(candidates: tuple[Candidate, ...]) -> GatewayError:
    """The error that tells the client most: a refusal of its request, else the first failure."""
    invalid = [c.reason or "invalid" for c in candidates if c.status is CandidateStatus.INVALID]
    if invalid:
        reasons = ", ".join(sorted(set(invalid)))
        return NoValidCandidateError(
            f"none of the {len(candidates)} candidates is a valid answer ({reasons})"
        )
    errors = [candidate.error for candidate in candidates if candidate.error is not None]
    refusals = [error for error in errors if isinstance(error, PolicyRefusedError)]
    return (refusals or errors)[0]
