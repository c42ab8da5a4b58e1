"""What a request generated less than plain best-of-n would have: an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from bon_gateway.types import Candidate, CandidateStatus


def saved_tokens(candidates: Sequence[Candidate], n: int) -> int | None:
    """Generated tokens that ``n`` whole candidates would have cost, less those of ``candidates``;
    negative if these cost more. None if none has ended.

    A whole candidate is taken to be as long as the mean of those that ended here. Where stragglers
    were stopped, these were the short ones, so the truth is more. A failed candidate counts as a
    whole one, because plain best-of-n would have lost it too.
    """
    ended = [candidate.tokens for candidate in candidates if candidate.completion is not None]
    if not ended:
        return None
    whole = fmean(ended)
    spent = sum(
        whole if candidate.status is CandidateStatus.FAILED else candidate.tokens
        for candidate in candidates
    )
    return round(n * whole - spent)
