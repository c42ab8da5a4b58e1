"""The way in and the way out: wire -> ChatRequest, and Selection -> JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bon_gateway.api.schema import NOT_SAMPLING, READ_BY_GATEWAY, ChatWire
from bon_gateway.types import RANDOM_SEED, CacheUse, Candidate, ChatRequest, Selection, Usage
from bon_gateway.verdicts import Verdict


class AnswerHead(msgspec.Struct, frozen=True):
    """The fields that every part of one answer repeats."""

    id: str
    created: int
    model: str


def to_request(
    wire: ChatWire,
    body: Mapping[str, Any],
    request_id: str,
    trace: Mapping[str, str],
    cache: CacheUse,
) -> ChatRequest:
    """``wire`` is ``body``, validated. The body's parameters pass on untouched, with two
    exceptions: null means absent, and text such as ``"0.5"`` is replaced by the number, so that
    gateway and policy read the same."""
    sampling = {k: v for k, v in body.items() if k not in NOT_SAMPLING and v is not None}
    for name in READ_BY_GATEWAY & sampling.keys():
        if isinstance(sampling[name], str | float):
            sampling[name] = getattr(wire, name)
    return ChatRequest(
        messages=body["messages"],
        sampling=sampling,
        seed=None if wire.seed == RANDOM_SEED else wire.seed,
        top=wire.n or 1,
        request_id=request_id,
        trace=trace,
        cache=cache,
    )


def to_answer(selection: Selection, head: AnswerHead, bon: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's chat completion with the ``bon`` object."""
    choices = [
        choice(position, selection.candidates[winner])
        for position, winner in enumerate(selection.winners)
    ]
    completion = selection.winner.completion
    extra = {} if completion is None else completion.response_extra
    return {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": choices,
        "usage": usage(selection),
        **extra,
        "bon": bon,
    }


def choice(position: int, candidate: Candidate) -> dict[str, Any]:
    completion = candidate.completion
    assert completion is not None, "a winner has a completion"
    return {
        "index": position,
        "message": completion.message,
        "logprobs": completion.logprobs,
        "finish_reason": completion.finish_reason,
        **completion.extra,
    }


def usage(selection: Selection) -> dict[str, Any]:
    paid = selection.usage
    completion_tokens = paid.completion_tokens
    answer: dict[str, Any] = {
        "prompt_tokens": paid.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": paid.prompt_tokens + completion_tokens,
    }
    if paid.prompt_details is not None:
        answer["prompt_tokens_details"] = paid.prompt_details
    if paid.completion_details is not None:
        answer["completion_tokens_details"] = paid.completion_details
    return answer


def bon_object(
    selection: Selection, *, return_candidates: bool, overhead_s: float, total_s: float
) -> dict[str, Any]:
    """The gateway's own part of an answer."""
    timings, paid, winner = selection.timings, selection.usage, selection.winner
    answer: dict[str, Any] = {
        "strategy": selection.strategy,
        "n": selection.n,
        "winner": winner.index,
        "reward": winner.reward,
        **_confidence(winner),
        "degraded": ", ".join(selection.degraded) or None,
        "candidates": [_candidate(c, return_candidates) for c in selection.candidates],
        "usage": {
            "prompt_tokens": paid.prompt_tokens,
            "winner_tokens": paid.winner_tokens,
            "discarded_tokens": paid.discarded_tokens,
            "reward_tokens": paid.reward_tokens,
            **_judging(paid),
        },
        "timings_ms": {
            "generate": _ms(timings.generate),
            "score": _ms(timings.score),
            "overhead": _ms(overhead_s),
            "total": _ms(total_s),
        },
    }
    if selection.stopped is not None:
        answer["rounds"] = selection.rounds
        answer["stopped"] = selection.stopped
    if selection.saved_tokens is not None:
        answer["saved_tokens"] = selection.saved_tokens
    if selection.pruning is not None:
        answer["pruning"] = selection.pruning
    if selection.left_out:
        answer["left_out"] = selection.left_out
    details = dict(selection.details or {})
    if selection.diversity is not None:
        details["diversity"] = round(selection.diversity, 6)
    if details:
        answer["details"] = details
    return answer


def _judging(paid: Usage) -> dict[str, Any]:
    return {} if paid.judging is None else {"judge": msgspec.structs.asdict(paid.judging)}


def _candidate(candidate: Candidate, with_message: bool) -> dict[str, Any]:
    completion = candidate.completion
    answer: dict[str, Any] = {
        "index": candidate.index,
        "status": candidate.status,
        "finish_reason": None if completion is None else completion.finish_reason,
        "reward": candidate.reward,
        **_confidence(candidate),
        "tokens": candidate.tokens,
    }
    if candidate.rewards is not None:
        answer["rewards"] = candidate.rewards
    if candidate.variant is not None:
        answer["variant"] = candidate.variant
    if candidate.cached:
        answer["cached"] = True
    if candidate.partial_rewards:
        answer["partial_rewards"] = candidate.partial_rewards
    if candidate.reason is not None:
        answer["reason"] = candidate.reason
    if candidate.verdicts is not None:
        answer["verdicts"] = {name: verdict(one) for name, one in candidate.verdicts.items()}
    if with_message and completion is not None:
        answer["message"] = completion.message
    return answer


def verdict(one: Verdict) -> dict[str, Any]:
    return {"outcome": one.outcome, "reason": one.reason, "score": one.score}


def _confidence(candidate: Candidate) -> dict[str, float]:
    """Only where it was measured."""
    return {} if candidate.confidence is None else {"confidence": candidate.confidence}


def headers(selection: Selection, overhead_s: float) -> dict[str, str]:
    """The answer's ``x-bon-*`` headers."""
    answer = {
        "x-bon-strategy": selection.strategy,
        "x-bon-n": str(selection.n),
        "x-bon-overhead-ms": f"{1000 * overhead_s:.2f}",
    }
    reward, confidence = selection.winner.reward, selection.winner.confidence
    if reward is not None:
        answer["x-bon-reward"] = f"{reward:.6g}"
    if confidence is not None:
        answer["x-bon-confidence"] = f"{confidence:.6g}"
    if selection.degraded:
        answer["x-bon-degraded"] = ", ".join(selection.degraded)
    return answer


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
