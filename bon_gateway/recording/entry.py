"""One record of the candidate log, and the line that it becomes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from bon_common.logs import timestamp
from bon_gateway.recording.redaction import Redaction
from bon_gateway.types import Candidate, ChatRequest, Completion, Selection

VERSION = 1


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A request that has ended. It only refers to what the request held; nothing is computed yet.
    ``model``, ``policy`` and ``reward`` are names in the settings."""

    at: float
    """Unix time of its end."""
    model: str
    policy: str
    policy_revision: str | None
    reward: str | None
    strategy: str
    n: int
    """Number of candidates that the request should draw."""
    request: ChatRequest
    selection: Selection | None
    """None if the request failed. Its candidates are then not known."""
    error: str | None
    """Code of the error that was the answer."""
    reward_compares: bool = False
    """See ``RewardBackend.compares``."""


def is_sampled(request_id: str, rate: float) -> bool:
    """Whether a request of this id belongs to the share ``rate`` of all ids.

    Only the id decides, so every worker and every retry decide alike. An id that is sampled at one
    rate is also sampled at every higher rate.
    """
    digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < rate * 2**64


def to_line(entry: LogEntry, redaction: Redaction, *, with_sampling: bool) -> bytes:
    """The entry as a line of JSON, its end included.

    Everything that a client or a model decides is redacted; the other values come from the
    settings. Raises TypeError for values that JSON cannot hold, RecursionError for values that are
    nested too deeply, and RedactionTimeoutError.
    """
    request, selection = entry.request, entry.selection
    record = {
        "v": VERSION,
        "ts": timestamp(entry.at),
        "request_id": redaction.scalar(request.request_id),
        "model": entry.model,
        "policy": entry.policy,
        "policy_revision": entry.policy_revision,
        "reward": entry.reward,
        **({"reward_compares": True} if entry.reward_compares else {}),
        "strategy": entry.strategy,
        "n": entry.n if selection is None else selection.n,
        "messages": [redaction.apply(message) for message in request.messages],
        "sampling": redaction.apply(request.sampling) if with_sampling else {},
        "seed": _number(redaction.scalar(request.seed)),
        "candidates": (
            [] if selection is None else [_candidate(c, redaction) for c in selection.candidates]
        ),
        "winner": None if selection is None else selection.winner.index,
        "degraded": None if selection is None else ", ".join(selection.degraded) or None,
        "error": redaction.scalar(entry.error),
    }
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _candidate(candidate: Candidate, redaction: Redaction) -> dict[str, Any]:
    completion = candidate.completion
    return {
        "index": candidate.index,
        "status": candidate.status,
        "finish_reason": None if completion is None else redaction.scalar(completion.finish_reason),
        "reward": candidate.reward,
        "tokens": candidate.tokens,
        "message": None if completion is None else redaction.apply(completion.message),
        "reason": redaction.scalar(candidate.reason),
        **_logprob(completion),
        **({} if candidate.confidence is None else {"confidence": candidate.confidence}),
        **({} if candidate.rewards is None else {"rewards": candidate.rewards}),
        **({} if candidate.variant is None else {"variant": candidate.variant}),
        **({"cached": True} if candidate.cached else {}),
        **({"partial_rewards": candidate.partial_rewards} if candidate.partial_rewards else {}),
        **_verdicts(candidate, redaction),
    }


def _verdicts(candidate: Candidate, redaction: Redaction) -> dict[str, Any]:
    """The reason from an operator's own verifier may quote the answer."""
    if candidate.verdicts is None:
        return {}
    verdicts = {
        name: {
            "outcome": one.outcome,
            "reason": redaction.scalar(one.reason),
            "score": one.score,
        }
        for name, one in candidate.verdicts.items()
    }
    return {"verdicts": verdicts}


def _logprob(completion: Completion | None) -> dict[str, float]:
    """What mean log-probabilities are made of, where the client asked for logprobs. Their form is
    the upstream's; one that cannot be read must not cost the record."""
    try:
        found = None if completion is None else completion.logprob
    except (KeyError, TypeError, ValueError):
        found = None
    return {} if found is None else {"logprob": found}


def _number(value: Any) -> int | None:
    """A redacted seed becomes None, because readers expect a number."""
    return value if isinstance(value, int) else None
