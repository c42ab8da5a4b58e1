"""The gateway's candidate log: one request a line, with every candidate and its reward.

Requests that ended in an error or were answered in a degraded way are dropped, as are candidates
that did not finish; each is counted under its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainers.base.lines import BadLineError, NotTextError
from trainers.base.metadata import METADATA, read_metadata
from trainers.base.template_inputs import NO_INPUTS, TemplateInputs, read_inputs
from trainers.preferences.readers import fields
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.records import ListedAnswer, Listwise
from trainers.preferences.tally import Tally

VERSION = 1
FINISHED, CUT = "finished", "truncated"


class CandidateLogReader(FormatReader):
    """the gateway's candidate log: messages and candidates with status, reward and message."""

    keys = ("messages", "candidates", "v")
    harmless = frozenset(
        {"ts", "request_id", "model", "reward", "strategy", "n", "winner", "degraded"}
        | {"candidates.index", "candidates.tokens", "candidates.reason", "candidates.logprob"}
    )

    def inputs(self, values: Values) -> TemplateInputs:
        """What the client sent beside the messages."""
        sampling = values.get("sampling")
        return read_inputs(sampling) if isinstance(sampling, dict) else NO_INPUTS

    def metadata(self, values: Values) -> Mapping[str, Any]:
        """What the client sent for the gateway's verifiers, as far as it was not redacted."""
        sampling = values.get("sampling")
        return read_metadata(sampling.get(METADATA)) if isinstance(sampling, dict) else {}

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Listwise]:
        if values.get("v") != VERSION:
            raise BadLineError(f"v: version {VERSION} of the candidate log is expected")
        reason = _unusable_request(values, options)
        if reason is not None:
            tally.drop(reason)
            return
        try:
            prompt = fields.prompt(values, "messages")
            candidates = _candidates(values, tally, options)
        except NotTextError:
            # Images and the like: normal requests for a gateway, so not a bad line.
            tally.drop("request that is not only text")
            return
        if candidates:
            yield Listwise(prompt, candidates)
        else:
            tally.drop("request without a usable candidate")


def _unusable_request(values: Values, options: ReadOptions) -> str | None:
    for key in ("error",) if options.keep_degraded else ("error", "degraded"):
        if values.get(key) is not None:
            return f"request with {key}: {values[key]}"
    if not values.get("candidates"):
        return "request without candidates"
    messages = values.get("messages")
    if isinstance(messages, list) and messages and _is_prefill(messages[-1]):
        return "request to continue an answer"
    return None


def _candidates(values: Values, tally: Tally, options: ReadOptions) -> tuple[ListedAnswer, ...]:
    source = _source(values)
    found = []
    for index, entry in enumerate(fields.objects(values, "candidates")):
        name = f"candidates.{index}"
        reason = _unusable(entry, options)
        if reason is not None:
            tally.drop(reason)
            continue
        reward = entry.get("reward")
        found.append(
            ListedAnswer(
                fields.listed_answer(entry, "message", entry["message"], f"{name}.message"),
                None if reward is None else fields.number(reward, f"{name}.reward"),
                source | {"finish_reason": entry.get("finish_reason")},
            )
        )
    return tuple(found)


def _is_prefill(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _unusable(entry: Values, options: ReadOptions) -> str | None:
    status = entry.get("status")
    if status not in (FINISHED, CUT):
        return f"candidate of status {status}"
    if entry.get("message") is None:
        return "candidate without its message"
    cut = status == CUT or entry.get("finish_reason") == "length"
    return "candidate cut at its token limit" if cut and not options.keep_cut else None


def _source(values: Values) -> dict[str, Any]:
    sampling = values.get("sampling")
    temperature = sampling.get("temperature") if isinstance(sampling, dict) else None
    known = {
        "policy": values.get("policy"),
        "revision": values.get("policy_revision"),
        "temperature": temperature,
        "seed": values.get("seed"),
    }
    return {key: value for key, value in known.items() if value is not None}
