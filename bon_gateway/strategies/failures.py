"""Logs a request's failed candidates in one line, however many failed and however often.

In an outage every candidate of every request fails, and fails again when it is drawn again. Many
lines that say the same would hide the one that says something else.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict

from bon_gateway.errors import GatewayError, PolicyRefusedError

MAX_REASONS = 5

_log = logging.getLogger(__name__)


class CandidateFailures:
    """The failures of one request. For a candidate that is drawn again they are the only trace."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._reasons: defaultdict[tuple[str, str | None], int] = defaultdict(int)
        self._again = 0

    def add(self, error: GatewayError, *, again: bool) -> None:
        """Count a failed candidate. ``again`` says that it is drawn again."""
        # The words of a refusal come from the upstream and may quote the prompt.
        reason = None if isinstance(error, PolicyRefusedError) else error.message
        self._reasons[error.code, reason] += 1
        self._again += again

    def log(self) -> None:
        """Write the line. Call it once, after the last ``add``."""
        if not self._reasons:
            return
        # If only refusals occurred, the client's request was wrong; the access log shows that.
        refused = all(reason is None for _, reason in self._reasons)
        reasons = [
            {"code": code, "reason": reason, "candidates": count}
            for (code, reason), count in Counter(self._reasons).most_common(MAX_REASONS)
        ]
        fields = {
            "request_id": self._request_id,
            "failed": sum(self._reasons.values()),
            "again": self._again,
            "reasons": reasons,
        }
        level = logging.DEBUG if refused else logging.INFO
        _log.log(level, "candidates failed", extra={"fields": fields})
