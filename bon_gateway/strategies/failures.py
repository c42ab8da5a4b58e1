"""What the log says of a request's failed candidates: one line, however many failed and how often.

In an outage every request fails N times over, and twice with its second draw; N lines that say the
same hide the one that says something else.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict

from bon_gateway.errors import GatewayError, PolicyRefusedError

MAX_REASONS = 5

_log = logging.getLogger(__name__)


class CandidateFailures:
    """Of one request. A candidate that is drawn again leaves no other trace."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._reasons: defaultdict[tuple[str, str | None], int] = defaultdict(int)
        self._again = 0

    def add(self, error: GatewayError, *, again: bool) -> None:
        """One candidate has failed, and is drawn ``again`` or not."""
        # A refusal's words are the upstream's and may quote the prompt.
        reason = None if isinstance(error, PolicyRefusedError) else error.message
        self._reasons[error.code, reason] += 1
        self._again += again

    def log(self) -> None:
        """To be called once, when nothing is added any more."""
        if not self._reasons:
            return
        # Only the client's own request was refused, which the access log shows.
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
