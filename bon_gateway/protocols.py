"""The interfaces between the gateway's parts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bon_common.selection.adaptive.gain import GainModel, SampleRewards
from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.pruning.probes import PairSums, ProbeWindow
from bon_gateway.judging import JudgeBill
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import (
    Caller,
    ChatRequest,
    Delta,
    Message,
    NonTextParts,
    ReportSample,
    RewardRequest,
    Scores,
    Selection,
    Vector,
)
from bon_gateway.verdicts import Verdict


class DeltaSink(Protocol):
    """Takes the deltas of a strategy that answers in one pass, as they come."""

    async def send(self, index: int, delta: Delta) -> None: ...


class Watch(Protocol):
    """Follows the candidates of a request while they are drawn, and may stop each alone. A policy
    that cannot show or stop a candidate before its end leaves the watch alone."""

    @property
    def checkpoints(self) -> Sequence[int]:
        """Numbers of generated tokens, ascending. A candidate is shown when it has passed one; if
        it passes several at a time, only at the last. ``watching.PassedCheckpoints`` knows when."""
        ...

    def begins(self, index: int, stop: Callable[[], object]) -> None:
        """Candidate ``index`` begins, or begins anew after it failed. ``stop`` stops it alone, at
        the engine too, and nothing happens if it has ended. A stopped candidate need not be
        reported."""
        ...

    def passed(self, index: int, checkpoint: int, message: Message) -> None:
        """What a candidate that goes on says so far, in the form of a whole candidate's message."""
        ...


class RewardHistory(Protocol):
    """What the rewards of a served model's earlier requests say about the next one's. No call
    waits: what is not known yet is computed aside, and known to later requests."""

    @property
    def model(self) -> GainModel | None:
        """What another candidate is expected to gain; None as long as too little is known."""
        ...

    @property
    def tokens(self) -> float | None:
        """Mean number of generated tokens of a candidate; None without earlier requests."""
        ...

    def learns(self, cap: int) -> bool:
        """Whether this request, which may draw ``cap`` candidates, should draw all of them for
        others to learn from. Asked once for each request."""
        ...

    def price(self, waves: Waves, target: int) -> float | None:
        """The price per candidate at which drawing in ``waves`` is expected to give the reward of
        best-of-``target``, in the unit of the rewards; None if it is not known yet."""
        ...

    def add(self, rewards: SampleRewards, tokens: int) -> None:
        """The finite rewards of all candidates that one request drew without a look at them, and
        their generated tokens together. At least two are not None."""
        ...

    @property
    def probes(self) -> ProbeWindow:
        """What rewards of unfinished answers tell of the final ones. To be read only."""
        ...

    def add_probe(self, sums: Mapping[int, PairSums], count: int, tokens: int) -> None:
        """A request whose ``count`` candidates, with ``tokens`` generated tokens together, all ran
        to their end: their partial and final rewards, by checkpoint in tokens."""
        ...

    async def close(self) -> None: ...


class Verifiers(Protocol):
    """The verifiers of a served model. They say whether each candidate may win."""

    @property
    def on_all_failed(self) -> Literal["best", "error"]:
        """What to answer if they fail all candidates: the best of these, or an error."""
        ...

    async def verify(
        self, request: RewardRequest, answer: Message, verdicts: dict[str, Verdict]
    ) -> None:
        """Write each verifier's verdict into ``verdicts``, by its name, as it comes. A verifier
        that was not needed writes none. Raises only CancelledError."""
        ...

    def give_up(self, verdicts: dict[str, Verdict]) -> None:
        """Write abstentions in place of missing verdicts, because time is up."""
        ...


@dataclass(slots=True)
class Trace:
    """What is known of a run while it runs, and still known if it is cancelled."""

    tokens: dict[int, int] = field(default_factory=dict)
    """Tokens generated so far by candidate index. Backends write it, as far as they know it."""
    count_tokens: bool = False
    """Set if candidates may be aborted. Policies then keep ``tokens`` up to date while they run."""
    replicas: list[str] = field(default_factory=list)
    """Names of the replicas that were asked, in order; a name may occur several times."""
    variants: dict[int, str] = field(default_factory=dict)
    """The variant that was asked last for each candidate. Written by policies with variants, and by
    strategies that ask several policies: there it is the policy's name."""
    tried: dict[int, set[str]] = field(default_factory=dict)
    """The policies that a composed one has asked for each candidate."""
    sink: DeltaSink | None = None
    """Set when the client streams."""
    history: RewardHistory | None = None
    """That of the served model, for strategies that learn from it."""
    policy: str = ""
    """The name of the served model's policy."""
    policies: Mapping[str, PolicyBackend] = field(default_factory=dict)
    """Those that the strategy ``asks`` beside the served model's own, by name."""
    watch: Watch | None = None
    """Set if candidates are looked at before their end. Then ``count_tokens`` is set too."""
    embedders: Mapping[str, Embedder] = field(default_factory=dict)
    """Embedders that the strategy ``embeds`` with, by name."""
    vectors: dict[str, Vector] = field(default_factory=dict)
    """Vector of length 1 of each embedded answer. A strategy uses one embedder."""
    embedder_lost: bool = False
    """Whether the embedder failed. Then it gets no more calls."""
    diversity: float | None = None
    """Mean distance between the last embedded answers: 1 less the cosine, over pairs."""
    deadline_at: float | None = None
    """The request's deadline, in the event loop's time."""
    verifiers: Verifiers | None = None
    """Verifiers of the served model."""
    bill: JudgeBill = field(default_factory=JudgeBill)
    """What judges have cost so far."""


class Backend(Protocol):
    """A model, here or behind replicas: what policies and reward models have in common."""

    async def start(self) -> None:
        """Open clients and begin to warm up; returns without waiting for the model."""
        ...

    def ready(self) -> bool:
        """Whether a request could be answered now: warmed up, and an upstream is there."""
        ...

    def health(self) -> dict[str, str]:
        """The state of each upstream by its name, see ``UpstreamState``."""
        ...

    def troubles(self) -> dict[str, str]:
        """Why an upstream is not up, by its name, if known."""
        ...

    async def close(self) -> None: ...


class CandidateSource(Protocol):
    """What draws candidates."""

    async def sample(
        self, request: ChatRequest, indices: Sequence[int], trace: Trace, report: ReportSample
    ) -> None:
        """Draw one candidate for each index and report each as it finishes, in any order.

        Candidate i uses ``request.seed_of(i)``. If the request has a signal, each completion has
        its ``confidence``, and the log-probabilities that the client asked for and no others;
        ``logprobs.Measuring`` does both. A candidate that cannot be drawn is reported with
        its error; nothing is raised but CancelledError. Cancelling the call aborts what still
        runs, at the engine too.
        """
        ...


class PolicyBackend(Backend, CandidateSource, Protocol):
    """A model that generates."""

    @property
    def thinking(self) -> ThinkingSettings | None:
        """How it marks thinking inside a message's content, if it does."""
        ...

    def stream(self, request: ChatRequest, trace: Trace) -> AsyncGenerator[Delta, None]:
        """Stream the one candidate of index 0. Raises PolicyError; closing it aborts."""
        ...


class ComposedPolicy(PolicyBackend, Protocol):
    """A policy whose candidates other policies draw. The gateway starts, watches and closes
    these."""

    def over(self, policies: Mapping[str, PolicyBackend]) -> ComposedPolicy:
        """The same policy over the backends of the same names in ``policies``; itself if it already
        uses these."""
        ...


class RewardBackend(Backend, Protocol):
    """A model that scores."""

    @property
    def non_text_parts(self) -> NonTextParts:
        """What happens to the parts of a conversation that are not text. With ``refuse`` the
        strategy refuses the request before it draws."""
        ...

    @property
    def announces(self) -> bool:
        """Whether ``announce`` does anything."""
        ...

    @property
    def compares(self) -> bool:
        """Whether rewards compare only the answers of one call, and do not compare with another
        call's. Then all answers to a request are scored in one call."""
        ...

    async def announce(self, request: RewardRequest) -> None:
        """Say that candidates of this conversation are being drawn. Raises only CancelledError: a
        conversation that cannot be announced is scored all the same."""
        ...

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        """Raw rewards of assistant messages that answer ``request``: same order, same length.

        Raises RewardError; RewardRefusedError if the reward model cannot read the conversation or
        an answer, which must then not be asked for again. Cancelling the call drops the work at
        the reward model too.
        """
        ...

    def warming(self) -> bool:
        """Whether it has never been ready so far and may still become it."""
        ...


class ComposedReward(RewardBackend, Protocol):
    """A reward that joins others. The gateway starts, watches and closes these."""

    def over(self, rewards: Mapping[str, RewardBackend]) -> ComposedReward:
        """The same, made of the backends of the same names in ``rewards``; itself if it is made of
        these already."""
        ...


class Embedder(Backend, Protocol):
    """A model that turns texts into vectors."""

    async def embed(self, texts: Sequence[str], caller: Caller | None) -> Sequence[Vector]:
        """A vector of finite numbers for each text, in the same order, all of one length.

        It reads the beginning of each text, as its settings say. Raises EmbedderError. Cancelling
        the call drops the work.
        """
        ...


class Upstream(Protocol):
    """A backend with its model on other servers, as ``bon-gateway check`` sees it."""

    async def trial(self, model: str | None) -> dict[str, str | None]:
        """What is wrong with each replica, by its name; None if nothing is."""
        ...


class Strategy(Protocol):
    """Decides how many candidates are drawn and which of them wins."""

    @property
    def name(self) -> str:
        """Its name in settings, answers and metrics."""
        ...

    def drawn(self, request: ChatRequest) -> int:
        """Number of candidates that the request draws. Raises BadRequestError if it asks for more
        answers than that."""
        ...

    async def run(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        trace: Trace,
    ) -> Selection:
        """Draw, score, choose. Raises GatewayError; cancelling it aborts everything under it."""
        ...
