"""Domain values: what is asked, what was drawn, what was chosen.

They know nothing of HTTP or of any backend. A reward is the reward model's raw scalar
(no sigmoid), higher is better. What is made for every request or candidate is a msgspec Struct,
here and elsewhere in the gateway: making a frozen dataclass takes twenty times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any, Literal

import msgspec

from bon_gateway.errors import GatewayError, RewardRefusedError

Message = Mapping[str, Any]
"""One OpenAI chat message, as it stands on the wire."""
ForTextAlone = Literal["refuse", "leave_out", "placeholder"]
NonTextParts = Literal["refuse", "leave_out", "placeholder", "send"]
"""What becomes of the parts of a conversation that are not text before a reward model reads it."""

GREEDY_BELOW = 1e-5
RANDOM_SEED = -1
"""vLLM takes this seed for none."""
INSTEAD_OF_RANDOM = -(2**62)
"""What a candidate is drawn with whose own seed would be ``RANDOM_SEED``."""


class Caller(msgspec.Struct, frozen=True):
    """For whose request an upstream is called: what ties the log lines of all servers together."""

    request_id: str
    trace: Mapping[str, str] = msgspec.field(default_factory=dict)
    """The client's ``traceparent``, ``tracestate`` and ``baggage``, where it sent them."""

    def headers(self) -> dict[str, str]:
        """What every call to an upstream carries."""
        return {"x-request-id": self.request_id, **self.trace}


class ChatRequest(msgspec.Struct, frozen=True):
    """One prompt and how to sample its answers."""

    messages: Sequence[Message]
    sampling: Mapping[str, Any]
    """Every other parameter as the client sent it (temperature, max_tokens, tools, vLLM's own),
    but ``model``, ``messages``, ``n``, ``seed``, ``stream``, ``stream_options`` and ``bon``."""
    seed: int | None
    """A 64-bit integer: candidate i is drawn with ``seed_of(i)``; None leaves it to the backend."""
    top: int
    """How many of the best candidates the client wants: its ``n``."""
    request_id: str
    trace: Mapping[str, str] = msgspec.field(default_factory=dict)
    """See ``Caller.trace``."""

    @property
    def caller(self) -> Caller:
        return Caller(self.request_id, self.trace)

    def seed_of(self, index: int) -> int | None:
        """``seed + index`` within 64 bits. vLLM refuses more, and past the largest number comes
        the smallest, which is the same seed to torch."""
        if self.seed is None:
            return None
        seed = (self.seed + index + 2**63) % 2**64 - 2**63
        return INSTEAD_OF_RANDOM if seed == RANDOM_SEED else seed

    def seeds_run_on(self, indices: Sequence[int]) -> bool:
        """Whether each candidate's seed is the one before it plus 1, as the seeds of one request
        with ``n`` are at vLLM."""
        first, last = self.seed_of(indices[0]), self.seed_of(indices[-1])
        if first is None or last is None:
            return True
        seeds = range(first, first + len(indices))
        together = [*indices] == [*range(indices[0], indices[0] + len(indices))]
        return together and last == seeds[-1] and RANDOM_SEED not in seeds

    @property
    def greedy(self) -> bool:
        """Whether sampling is deterministic, so that there is only one distinct candidate.

        vLLM samples greedily below a temperature of 1e-5.
        """
        temperature = self.sampling.get("temperature")
        return temperature is not None and temperature < GREEDY_BELOW


class Completion(msgspec.Struct, frozen=True):
    """What the policy produced for one candidate."""

    message: Message
    """As OpenAI's schema has it: null only where that has null, no empty list of tool calls."""
    finish_reason: str
    """``stop``, ``length``, ``tool_calls``, ...: the policy's own word."""
    tokens: int
    prompt_tokens: int
    logprobs: Mapping[str, Any] | None = None
    """OpenAI's logprobs object, where the client asked for it."""
    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Further fields of the upstream's choice (``stop_reason``, ``token_ids``, ...)."""
    response_extra: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Further fields beside the choices (``prompt_logprobs``, ...)."""
    prompt_details: Mapping[str, Any] | None = None
    """The upstream's ``usage.prompt_tokens_details``: counts by name, where it tells."""
    completion_details: Mapping[str, Any] | None = None
    """Its ``usage.completion_tokens_details``. Where one answer holds several candidates the first
    one has those of all, so that their sum is what was paid."""

    @property
    def logprob(self) -> float | None:
        """Sum of the token log-probabilities, in nats, if they are known."""
        content = (self.logprobs or {}).get("content")
        if not content:
            return None
        return float(sum(token["logprob"] for token in content))


class Sample(msgspec.Struct, frozen=True):
    """What a policy backend yields: the outcome of drawing candidate ``index``."""

    index: int
    outcome: Completion | GatewayError


ReportSample = Callable[[Sample], None]
"""Takes the outcome of each candidate as it ends."""


class Delta(msgspec.Struct, frozen=True):
    """One step of a streamed completion. ``choice`` is the upstream's chunk choice: ``delta``,
    ``finish_reason``, ``logprobs``; a last Delta may carry only the token counts. ``extra`` is what
    the chunk has beside its choices, and the details are those of its usage."""

    choice: Mapping[str, Any] | None
    tokens: int | None = None
    prompt_tokens: int | None = None
    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)
    prompt_details: Mapping[str, Any] | None = None
    completion_details: Mapping[str, Any] | None = None


class RewardRequest(msgspec.Struct, frozen=True):
    """The conversation whose answers a reward model scores."""

    messages: Sequence[Message]
    tools: Sequence[Any] | None = None
    """The request's tools, which some chat templates show."""
    caller: Caller | None = None
    """For whose request it is; the reward model's log shows it. None for the gateway's own."""

    @property
    def request_id(self) -> str | None:
        return None if self.caller is None else self.caller.request_id

    def headers(self) -> dict[str, str]:
        """See ``Caller.headers``."""
        return {} if self.caller is None else self.caller.headers()


class Scores(msgspec.Struct, frozen=True):
    """Raw rewards, in the order in which the completions were given."""

    rewards: tuple[float | None, ...]
    """None for an answer that the reward model refused to read, as ``refusal`` says."""
    tokens: int
    """Tokens that the reward model was asked to read, the prompt counted for each completion."""
    refusal: RewardRefusedError | None = None


class CandidateStatus(StrEnum):
    FINISHED = "finished"
    TRUNCATED = "truncated"
    """Ended by the token limit; wins only while no candidate has finished."""
    REJECTED = "rejected"
    """Stopped by the gateway before its end: a straggler, or the deadline came."""
    FAILED = "failed"
    """The policy backend did not produce it."""
    INVALID = "invalid"
    """Produced, but it may not win: empty, or not the JSON or the tool call that was asked for."""


EMPTY = "empty"
"""The reason of an invalid candidate that ended by itself without a word."""


class Tier(IntEnum):
    """What a usable candidate has to show. One of a lower number beats all of a higher one."""

    ANSWER = 0
    NO_ANSWER = 1
    """White space alone, or it was cut before its first word."""
    MISPLACED = 2
    """All of it came as reasoning, where the engine's parser most likely put the answer too."""


class Candidate(msgspec.Struct, frozen=True):
    index: int
    status: CandidateStatus
    completion: Completion | None = None
    reward: float | None = None
    tokens: int = 0
    """Generated tokens; for a rejected candidate those up to its end."""
    error: GatewayError | None = None
    reason: str | None = None
    """Why it is rejected, failed or invalid, or what else there is to say, in a few words."""
    tier: Tier = Tier.ANSWER


class UpstreamState(StrEnum):
    """How an upstream does, as the ``health`` of its backend tells."""

    WARMING = "warming"
    """It has not been up yet."""
    UP = "up"
    """It is given requests; no other state is."""
    UNREADY = "unready"
    """Its health is other than 200: it drains, say."""
    EJECTED = "ejected"
    """It failed, or it cannot be reached."""
    LEAVING = "leaving"
    """Its address is gone from its host's; what it works on may still end."""


class Usage(msgspec.Struct, frozen=True):
    """What was paid. The prompt counts once, completion tokens count for all candidates."""

    prompt_tokens: int
    winner_tokens: int
    discarded_tokens: int
    reward_tokens: int
    prompt_details: Mapping[str, Any] | None = None
    """Of the prompt, which counts once (``cached_tokens``), where the upstream tells."""
    completion_details: Mapping[str, Any] | None = None
    """Sums over all candidates (``reasoning_tokens``), where the upstream tells."""

    @property
    def completion_tokens(self) -> int:
        return self.winner_tokens + self.discarded_tokens


class Timings(msgspec.Struct, frozen=True):
    """Seconds of wall time. ``score`` is what scoring added after the last candidate arrived."""

    generate: float
    score: float


class Selection(msgspec.Struct, frozen=True):
    """The outcome of one request."""

    winners: tuple[int, ...]
    """Candidate indices, best first; as many as the client asked for, or fewer if degraded."""
    candidates: tuple[Candidate, ...]
    """All candidates, by index."""
    strategy: str
    n: int
    """How many candidates were drawn."""
    usage: Usage
    timings: Timings
    degraded: tuple[str, ...] = ()
    """What was lost on the way, as short codes; empty when all went as asked."""
    details: Mapping[str, Any] | None = None

    @property
    def winner(self) -> Candidate:
        return self.candidates[self.winners[0]]
