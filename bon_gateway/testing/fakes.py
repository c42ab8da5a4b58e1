"""In-memory backends: a test says what each candidate, or each call, does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bon_common.selection.adaptive.gain import GainModel, SampleRewards
from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.pruning.probes import PairSums, Probe, ProbeWindow
from bon_gateway.errors import AbstainedError, EmbedderError, GatewayError, RewardError
from bon_gateway.judging import JudgeUsage
from bon_gateway.logprobs import Measuring, measured
from bon_gateway.protocols import Trace, Watch
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import (
    Caller,
    ChatRequest,
    Completion,
    Delta,
    Message,
    NonTextParts,
    ReportSample,
    RewardRequest,
    Sample,
    Scores,
    Vector,
)
from bon_gateway.verdicts import PASSED, Verdict, abstained


def completion(
    text: str | None = "an answer",
    *,
    finish_reason: str = "stop",
    tokens: int = 3,
    prompt_tokens: int = 5,
    logprobs: Sequence[float] | None = None,
    **message: Any,
) -> Completion:
    """An assistant's completion; further keywords go into its message. ``logprobs`` are those of
    its tokens, without alternatives."""
    content = [{"token": "t", "logprob": each, "top_logprobs": []} for each in logprobs or ()]
    return Completion(
        message={"role": "assistant", "content": text, **message},
        finish_reason=finish_reason,
        tokens=tokens,
        prompt_tokens=prompt_tokens,
        logprobs=None if logprobs is None else {"content": content},
    )


@dataclass(frozen=True, slots=True)
class Act:
    """The outcomes of one candidate's attempts, each after ``delay`` seconds; the last one repeats.
    Without outcomes it never ends."""

    outcomes: Sequence[Completion | GatewayError] = ()
    delay: float = 0.0
    tokens_so_far: int = 0
    """Tokens that the trace shows while it runs."""
    token_s: float = 0.0
    """Seconds that each token takes before the delay, if the candidate is watched."""
    partials: Mapping[int, str] = field(default_factory=dict)
    """What it says at a checkpoint; at others it says its own number, ``answer <index>``."""


@dataclass(slots=True)
class _FakeBackend:
    """The life of a backend that is up at once, unless ``is_ready`` says otherwise."""

    is_ready: bool = field(default=True, kw_only=True)

    async def start(self) -> None:
        return None

    def ready(self) -> bool:
        return self.is_ready

    def warming(self) -> bool:
        return False

    def health(self) -> dict[str, str]:
        return {"fake": "up" if self.is_ready else "ejected"}

    def troubles(self) -> dict[str, str]:
        return {} if self.is_ready else {"fake": "It was told to be down."}

    async def close(self) -> None:
        return None


@dataclass(slots=True)
class FakePolicy(_FakeBackend):
    """A PolicyBackend that plays ``acts``; candidates without one say ``answer <index>``."""

    acts: Mapping[int, Act] = field(default_factory=dict)
    attempts: Counter[int] = field(default_factory=Counter)
    requests: list[ChatRequest] = field(default_factory=list)
    thinking: ThinkingSettings | None = None
    aborted: set[int] = field(default_factory=set)
    running: int = 0

    async def sample(
        self, request: ChatRequest, indices: Sequence[int], trace: Trace, report: ReportSample
    ) -> None:
        self.requests.append(request)
        async with asyncio.TaskGroup() as tasks:
            for index in indices:
                playing = tasks.create_task(self._play(request, index, report, trace))
                if trace.watch is not None:
                    trace.watch.begins(index, playing.cancel)

    async def _play(
        self, request: ChatRequest, index: int, report: ReportSample, trace: Trace
    ) -> None:
        act = self.acts.get(index, Act((completion(f"answer {index}"),)))
        attempt = self.attempts[index]
        self.attempts[index] += 1
        self.running += 1
        if act.tokens_so_far:
            trace.tokens[index] = act.tokens_so_far
        try:
            if trace.watch is not None:
                await self._show(index, attempt, act, trace, trace.watch)
            await asyncio.sleep(act.delay)
            if not act.outcomes:
                await asyncio.Event().wait()
            outcome = act.outcomes[min(attempt, len(act.outcomes) - 1)]
            if isinstance(outcome, Completion):
                outcome = measured(outcome, Measuring.of(request))
            report(Sample(index, outcome))
        except asyncio.CancelledError:
            self.aborted.add(index)
            raise
        finally:
            self.running -= 1

    async def _show(self, index: int, attempt: int, act: Act, trace: Trace, watch: Watch) -> None:
        """Let the candidate grow to its last token, past the checkpoints before."""
        outcome = act.outcomes[min(attempt, len(act.outcomes) - 1)] if act.outcomes else None
        length = outcome.tokens if isinstance(outcome, Completion) else 0
        grown = 0
        for checkpoint in [point for point in watch.checkpoints if point < length]:
            await asyncio.sleep(act.token_s * (checkpoint - grown))
            grown = trace.tokens[index] = checkpoint
            text = act.partials.get(checkpoint, f"answer {index}")
            watch.passed(index, checkpoint, {"role": "assistant", "content": text})
        await asyncio.sleep(act.token_s * (length - grown))

    async def stream(self, request: ChatRequest, trace: Trace) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        act = self.acts.get(0, Act((completion("one two three"),)))
        outcome = act.outcomes[min(self.attempts[0], len(act.outcomes) - 1)]
        self.attempts[0] += 1
        self.running += 1
        try:
            if isinstance(outcome, GatewayError):
                raise outcome
            yield Delta({"index": 0, "delta": {"role": "assistant", "content": ""}})
            words = (outcome.message["content"] or "").split(" ")
            for position, word in enumerate(words):
                await asyncio.sleep(act.delay)
                text = word if position == 0 else f" {word}"
                trace.tokens[0] = position + 1
                yield Delta({"index": 0, "delta": {"content": text}}, position + 1, 5)
            yield Delta({"index": 0, "delta": {}, "finish_reason": outcome.finish_reason})
            yield Delta(None, outcome.tokens, outcome.prompt_tokens)
        finally:
            self.running -= 1


def never(_: Message) -> bool:
    return False


def reward_of_digits(message: Message) -> float:
    """The digits of an answer as a number, so that ``answer 7`` is worth 7."""
    digits = "".join(c for c in str(message.get("content")) if c.isdigit())
    return float(digits or 0)


@dataclass(slots=True)
class FakeReward(_FakeBackend):
    """A RewardBackend that computes ``rule``; the first ``failures`` calls fail."""

    rule: Callable[[Message], float] = reward_of_digits
    failures: int = 0
    delay: float = 0.0
    abstains: Callable[[Message], bool] = never
    """Which answers get no reward."""
    judging: JudgeUsage | None = None
    """Cost that each call reports."""
    calls: list[list[Message]] = field(default_factory=list)
    """The completions of each call."""
    conversations: list[Sequence[Message]] = field(default_factory=list)
    """The messages of each call."""
    partial: list[bool] = field(default_factory=list)
    """Whether each call was for beginnings of answers."""
    non_text_parts: NonTextParts = "refuse"
    announces: bool = False
    compares: bool = False
    announced: list[Sequence[Message]] = field(default_factory=list)
    """The conversations that were announced."""
    callers: list[Caller | None] = field(default_factory=list)
    """The caller of each announcement and of each call."""
    withdrawn: int = 0
    """Announcements that were cancelled; none ends by itself."""
    aborted: int = 0
    """Calls that were cancelled."""

    async def announce(self, request: RewardRequest) -> None:
        self.announced.append(request.messages)
        self.callers.append(request.caller)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.withdrawn += 1
            raise

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        self.calls.append(list(completions))
        self.conversations.append(request.messages)
        self.partial.append(request.partial)
        self.callers.append(request.caller)
        if self.judging is not None:
            request.bill.add(self.judging)
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        if len(self.calls) <= self.failures:
            raise RewardError("the fake reward model was told to fail")
        rewards = tuple(None if self.abstains(m) else self.rule(m) for m in completions)
        missing = AbstainedError("the fake judge abstained") if None in rewards else None
        return Scores(rewards, 10 * len(completions), missing, judging=self.judging)


def passes(_: Message) -> Verdict:
    return PASSED


@dataclass(slots=True)
class FakeVerifiers:
    """A panel with one verifier, ``fake``, whose verdict comes from ``rule``. If ``rule`` returns
    None, verifying never ends."""

    rule: Callable[[Message], Verdict | None] = passes
    delay: float = 0.0
    on_all_failed: Literal["best", "error"] = "best"
    calls: list[Message] = field(default_factory=list)
    """The answers that were verified."""
    requests: list[RewardRequest] = field(default_factory=list)
    cancelled: int = 0

    async def verify(
        self, request: RewardRequest, answer: Message, verdicts: dict[str, Verdict]
    ) -> None:
        self.calls.append(answer)
        self.requests.append(request)
        try:
            await asyncio.sleep(self.delay)
            verdict = self.rule(answer)
            if verdict is None:
                await asyncio.Event().wait()
            else:
                verdicts["fake"] = verdict
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def give_up(self, verdicts: dict[str, Verdict]) -> None:
        verdicts.setdefault("fake", abstained("deadline"))


@dataclass(slots=True)
class FakeEmbedder(_FakeBackend):
    """An Embedder that knows each text's vector; the first ``failures`` calls fail."""

    known: Mapping[str, Vector]
    failures: int = 0
    hold: asyncio.Event | None = None
    """Calls wait for this event."""
    calls: list[list[str]] = field(default_factory=list)
    cancelled: int = 0

    async def embed(self, texts: Sequence[str], caller: Caller | None) -> list[Vector]:
        self.calls.append([*texts])
        try:
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if len(self.calls) <= self.failures:
            raise EmbedderError("the fake embedder was told to fail")
        return [self.known[text] for text in texts]


@dataclass(slots=True)
class FakeHistory:
    """A RewardHistory that knows what it is told."""

    model: GainModel | None = None
    tokens: float | None = None
    prices: Mapping[int, float] = field(default_factory=dict)
    """By target."""
    wants: bool = False
    """Whether every request should draw all, to learn from."""
    added: list[tuple[list[float | None], int]] = field(default_factory=list)
    probes: ProbeWindow = field(default_factory=ProbeWindow)

    def learns(self, cap: int) -> bool:
        return self.wants

    def price(self, waves: Waves, target: int) -> float | None:
        return self.prices.get(target)

    def add(self, rewards: SampleRewards, tokens: int) -> None:
        self.added.append(([*rewards], tokens))

    def add_probe(self, sums: Mapping[int, PairSums], count: int, tokens: int) -> None:
        self.probes.extend([Probe(0, count, tokens, sums)])

    async def close(self) -> None:
        return None
