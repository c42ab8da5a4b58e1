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

from bon_gateway.errors import GatewayError, RewardError
from bon_gateway.judging import JudgeBill, JudgeUsage
from bon_gateway.verdicts import Verdict

Message = Mapping[str, Any]
"""One OpenAI chat message, as it stands on the wire."""
Vector = Sequence[float]
"""An embedder's vector of a text."""
ForTextAlone = Literal["refuse", "leave_out", "placeholder"]
NonTextParts = Literal["refuse", "leave_out", "placeholder", "send"]
"""What happens to parts that are not text before a reward model reads a conversation."""

GREEDY_BELOW = 1e-5
RANDOM_SEED = -1
"""vLLM takes this seed for none."""
INSTEAD_OF_RANDOM = -(2**62)
"""Replaces a candidate's seed that would be ``RANDOM_SEED``."""


class Caller(msgspec.Struct, frozen=True):
    """The request for which an upstream is called: it ties the logs of all servers together."""

    request_id: str
    trace: Mapping[str, str] = msgspec.field(default_factory=dict)
    """The client's ``traceparent``, ``tracestate`` and ``baggage``, if it sent them."""

    def headers(self) -> dict[str, str]:
        """Headers of every call to an upstream."""
        return {"x-request-id": self.request_id, **self.trace}


class Signal(msgspec.Struct, frozen=True):
    """How the log-probabilities of a candidate's tokens become one number: how sure the policy was.
    All are natural logarithms."""

    top: int
    """How many of the largest log-probabilities at each token's place it reads; with 0 only that of
    the token itself."""
    of_token: Callable[[Sequence[float]], float]
    """The value of one token, from what is read of it, the largest first."""
    of_all: Callable[[Sequence[float]], float]
    """From the values of all tokens, in their order; there is at least one."""


class CacheUse(msgspec.Struct, frozen=True):
    """How a request may use a cache of candidates."""

    scope: str = ""
    """Requests of another scope do not see this one's candidates, unless the cache is shared."""
    read: bool = True
    store: bool = True


class ChatRequest(msgspec.Struct, frozen=True):
    """One prompt and how to sample its answers."""

    messages: Sequence[Message]
    sampling: Mapping[str, Any]
    """Every parameter as the client sent it (temperature, max_tokens, tools, vLLM's own), except
    ``model``, ``messages``, ``n``, ``seed``, ``stream``, ``stream_options`` and ``bon``."""
    seed: int | None
    """A 64-bit integer: candidate i is drawn with ``seed_of(i)``; None leaves it to the backend."""
    top: int
    """How many of the best candidates the client wants: its ``n``."""
    request_id: str
    trace: Mapping[str, str] = msgspec.field(default_factory=dict)
    """See ``Caller.trace``."""
    signal: Signal | None = None
    """What the policy measures of each candidate, as its ``confidence``; None measures nothing.
    The log-probabilities that this takes are not shown to the client."""
    upstream_model: str | None = None
    """The name of the model to ask an upstream for, such as a LoRA adapter's; None leaves it to the
    policy."""
    cache: CacheUse = CacheUse()

    @property
    def caller(self) -> Caller:
        return Caller(self.request_id, self.trace)

    def seed_of(self, index: int) -> int | None:
        """``seed + index`` within 64 bits, because vLLM refuses more. It wraps around at the
        largest number; to torch both are the same seed."""
        if self.seed is None:
            return None
        seed = (self.seed + index + 2**63) % 2**64 - 2**63
        return INSTEAD_OF_RANDOM if seed == RANDOM_SEED else seed

    def seeds_run_on(self, indices: Sequence[int]) -> bool:
        """Whether the seeds rise by 1 from candidate to candidate: vLLM seeds the choices of one
        request with ``n`` in this way."""
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
    """In OpenAI's form: null only where its schema allows null, no empty list of tool calls."""
    finish_reason: str
    """``stop``, ``length``, ``tool_calls``, ...: as the policy says it."""
    tokens: int
    prompt_tokens: int
    logprobs: Mapping[str, Any] | None = None
    """OpenAI's logprobs object, where the client asked for it."""
    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Further fields of the upstream's choice (``stop_reason``, ``token_ids``, ...)."""
    response_extra: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Further fields beside the choices (``prompt_logprobs``, ...)."""
    prompt_details: Mapping[str, Any] | None = None
    """The upstream's ``usage.prompt_tokens_details``: counts by name, if it sends them."""
    completion_details: Mapping[str, Any] | None = None
    """Its ``usage.completion_tokens_details``. If one answer holds several candidates, the first of
    them has the counts of all, so that the sum over candidates is what was paid."""
    confidence: float | None = None
    """What the request's signal measured; None if nothing was asked for, or if the policy gave no
    log-probabilities that can be read."""
    cached: bool = False
    """It was drawn for an earlier request, so it cost nothing now."""

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
    """One step of a streamed completion. ``choice`` is the choice in the upstream's chunk:
    ``delta``, ``finish_reason``, ``logprobs``. The last Delta may have only token counts. ``extra``
    holds the chunk's fields beside its choices; the details come from its usage."""

    choice: Mapping[str, Any] | None
    tokens: int | None = None
    prompt_tokens: int | None = None
    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)
    prompt_details: Mapping[str, Any] | None = None
    completion_details: Mapping[str, Any] | None = None


class RewardRequest(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """The conversation whose answers a reward model scores. All calls for the candidates of one
    request have the same object, so a reward model may keep something for it as long as it lives.
    Calls for their beginnings have another object.
    """

    messages: Sequence[Message]
    tools: Sequence[Any] | None = None
    """The request's tools, which some chat templates show."""
    caller: Caller | None = None
    """Shown in the reward model's log; None for the gateway's own calls."""
    partial: bool = False
    """The answers are beginnings. A reward model that knows beginnings renders them as its operator
    chose."""
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The request's ``metadata``, which may hold the expected answer for verifiers."""
    bill: JudgeBill = msgspec.field(default_factory=JudgeBill)
    """Code that calls a chat model adds the cost here, with or without a verdict."""

    @property
    def request_id(self) -> str | None:
        return None if self.caller is None else self.caller.request_id

    def headers(self) -> dict[str, str]:
        """See ``Caller.headers``."""
        return {} if self.caller is None else self.caller.headers()


class Scores(msgspec.Struct, frozen=True):
    """Raw rewards, in the order in which the completions were given."""

    rewards: tuple[float | None, ...]
    """None for an answer without a reward; ``missing`` says why."""
    tokens: int
    """Tokens that the reward model was asked to read, the prompt counted for each completion."""
    missing: RewardError | None = None
    """Why answers have no reward: the reward model refused to read them, or a judge abstained."""
    members: Sequence[Mapping[str, float]] | None = None
    """For each answer, what each member of an ensemble gave, by the members' names in the settings.
    None from a single reward model."""
    judging: JudgeUsage | None = None
    """None if no chat model was asked."""
    left_out: Sequence[str] = ()
    """Members of an ensemble that could not score; the rewards come from the others."""
    read: Sequence[int] | None = None
    """Number of tokens read for each answer, prompt included; None if unknown."""
    truncated: Sequence[bool] | None = None
    """For each answer, whether the start of its prompt was cut to fit; None if unknown."""
    labels: Sequence[Mapping[str, float]] | None = None
    """For each answer, the raw number of each label, if the reward model has several."""


class CandidateStatus(StrEnum):
    FINISHED = "finished"
    TRUNCATED = "truncated"
    """Ended by the token limit; wins only if no candidate has finished."""
    REJECTED = "rejected"
    """Stopped by the gateway before its end: a straggler, one that was pruned, or the deadline
    came."""
    FAILED = "failed"
    """The policy backend did not produce it."""
    INVALID = "invalid"
    """Produced, but may not win: empty, or not the JSON or tool call that the client asked for."""


EMPTY = "empty"
"""Reason of an invalid candidate that ended by itself without a word."""
PRUNED = "pruned"
"""Reason of a rejected candidate that had too little chance to become the best."""


class Tier(IntEnum):
    """How much of an answer a usable candidate has. A lower tier beats every higher one."""

    ANSWER = 0
    NO_ANSWER = 1
    """Only white space, or cut before its first word."""
    MISPLACED = 2
    """All of it came as reasoning; the engine's parser most likely put the answer there too."""
    REFUTED = 3
    """An answer that a verifier failed."""
    REFUTED_EMPTY = 4
    """A verifier failed it, and it has no answer, or none in its place."""


class Candidate(msgspec.Struct, frozen=True):
    index: int
    status: CandidateStatus
    completion: Completion | None = None
    reward: float | None = None
    tokens: int = 0
    """Generated tokens; for a rejected candidate those until it was stopped."""
    error: GatewayError | None = None
    reason: str | None = None
    """Why it is rejected, failed or invalid, or a remark about a usable one, in a few words."""
    tier: Tier = Tier.ANSWER
    rewards: Mapping[str, float] | None = None
    """See ``Scores.members``."""
    variant: str | None = None
    """The variant that drew it last, if the policy has variants, or the policy's name, if the
    strategy asks several."""
    partial_rewards: Sequence[tuple[int, float]] = ()
    """Rewards of what it said after some numbers of tokens, ascending, where that was scored."""
    verdicts: Mapping[str, Verdict] | None = None
    """Verdicts by the verifier's name; None if the served model has no verifier."""

    @property
    def refuted(self) -> bool:
        """Whether a verifier failed it. Then it wins only if all others have failed too."""
        return self.tier >= Tier.REFUTED

    @property
    def cached(self) -> bool:
        """See ``Completion.cached``."""
        return self.completion is not None and self.completion.cached

    @property
    def paid_tokens(self) -> int:
        """Generated tokens, without those of an earlier request."""
        return 0 if self.cached else self.tokens

    @property
    def confidence(self) -> float | None:
        """See ``Completion.confidence``."""
        return None if self.completion is None else self.completion.confidence


class UpstreamState(StrEnum):
    """The state of an upstream, as the ``health`` of its backend says it."""

    WARMING = "warming"
    """It has not been up yet."""
    UP = "up"
    """It gets requests. In every other state it gets none."""
    UNREADY = "unready"
    """Its health is not 200, for example because it drains."""
    EJECTED = "ejected"
    """It failed, or it cannot be reached."""
    LEAVING = "leaving"
    """Its host name no longer leads to it. What it works on may still end."""


class Usage(msgspec.Struct, frozen=True):
    """What was paid. The prompt counts once, or once for each variant of the policy that was asked:
    their prompts differ. Completion tokens count for all candidates."""

    prompt_tokens: int
    winner_tokens: int
    discarded_tokens: int
    reward_tokens: int
    judging: JudgeUsage | None = None
    """None if no chat model gave verdicts."""
    prompt_details: Mapping[str, Any] | None = None
    """Counts for the prompt (``cached_tokens``), as often as it counts itself, if the upstream
    sends them."""
    completion_details: Mapping[str, Any] | None = None
    """Sums over all candidates (``reasoning_tokens``), if the upstream sends them."""

    @property
    def completion_tokens(self) -> int:
        return self.winner_tokens + self.discarded_tokens


class Timings(msgspec.Struct, frozen=True):
    """Seconds of wall time. ``score`` is what scoring added after the last candidate arrived."""

    generate: float
    score: float


class Stopped(StrEnum):
    """Why a strategy that draws in waves drew no further one."""

    PRICE = "price"
    """Another candidate was not worth its price."""
    TARGET = "target"
    """As many were drawn as ``best_of_n`` draws: there was nothing to tell the worth of more."""
    CAP = "cap"
    """As many were drawn as may be."""
    LEARNING = "learning"
    """All were drawn that may be, to learn how rewards vary."""
    GOOD_ENOUGH = "good_enough"
    """A candidate's reward passed the threshold."""
    VOTE = "vote"
    """The leading answer was certain enough."""
    ESCALATED = "escalated"
    """No candidate of the first policy passed the threshold, so a better one drew too."""
    UNJUDGED = "unjudged"
    """The first policy's candidates have no reward, so nothing says whether they will do."""
    DEADLINE = "deadline"


class Pruning(StrEnum):
    """Whether candidates could be stopped for their partial rewards, or why not."""

    ON = "on"
    LEARNING = "learning"
    """Too little is known of what partial rewards tell. All candidates run to their end."""
    PROBING = "probing"
    """One of the requests that show whether partial rewards still tell enough: all run to their
    end."""
    OFF = "off"
    """Partial rewards do not tell enough of the final ones, and so nothing partial is scored."""
    FORM = "form"
    """Tools or structured output: half of it is not what a reward model reads."""
    UNSEEN = "unseen"
    """The policy showed no unfinished candidate: it cannot, or all ended before a checkpoint."""
    SILENT = "silent"
    """Partial rewards were missing, not finite or all equal."""
    FAULT = "fault"
    """The rule would have stopped candidates that must not be stopped, so it stopped none."""


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
    """What was lost, as short codes; empty if all went as asked."""
    details: Mapping[str, Any] | None = None
    rounds: int = 1
    """Waves in which the candidates were drawn."""
    stopped: Stopped | None = None
    """Why there was no further wave; None for a strategy that draws all at once."""
    saved_tokens: int | None = None
    """See ``strategies.saved``; None where there is nothing to compare with."""
    pruning: Pruning | None = None
    """None for a strategy that stops nobody for partial rewards."""
    left_out: Sequence[str] = ()
    """See ``Scores.left_out``."""
    diversity: float | None = None
    """See ``Trace.diversity``; None for a strategy that embeds nothing."""

    @property
    def winner(self) -> Candidate:
        return self.candidates[self.winners[0]]
