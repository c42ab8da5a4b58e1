"""A policy that draws from a pool: the PolicyBackend of a replay.

Every token of a candidate takes the same time, however many candidates run, and they arrive one by
one, as with ``fan_out: separate``. Reading the prompt takes no time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from itertools import groupby
from typing import Any

from bon_gateway.errors import PolicyRefusedError
from bon_gateway.logprobs import Measuring, measured
from bon_gateway.protocols import Trace
from bon_gateway.replay.log import RecordedCandidate
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import ChatRequest, Completion, Delta, ReportSample, Sample

STEP = 1e-6
"""Of a token: a clock that is short of a whole token by less has reached it."""


class RecordedPolicy:
    """Candidate i of one request is ``candidates[i]``. Used for one request.

    An index beyond the pool is refused, and ``short`` then says so: the figures would mean nothing.
    """

    def __init__(
        self,
        candidates: Sequence[RecordedCandidate],
        prompt_tokens: int,
        token_s: float,
        thinking: ThinkingSettings | None,
    ) -> None:
        self._candidates = candidates
        self._prompt_tokens = prompt_tokens
        self._token_s = token_s
        self._thinking = thinking
        self._running = 0
        self.tokens: dict[int, int] = {}
        """Tokens generated, by index; of a candidate that was stopped, those until then."""
        self.rounds = 0
        """Calls of ``sample`` that began while no other ran."""
        self.short = False

    @property
    def thinking(self) -> ThinkingSettings | None:
        return self._thinking

    async def start(self) -> None:
        return None

    def ready(self) -> bool:
        return True

    def health(self) -> dict[str, str]:
        return {}

    def troubles(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        return None

    async def sample(
        self, request: ChatRequest, indices: Sequence[int], trace: Trace, report: ReportSample
    ) -> None:
        beyond = [index for index in indices if index >= len(self._candidates)]
        for index in beyond:
            self.short = True
            report(Sample(index, PolicyRefusedError("the pool has no further candidate")))
        measuring = Measuring.of(request)
        running = sorted(set(indices) - set(beyond))
        self.tokens.update(dict.fromkeys(running, 0))
        self.rounds += self._running == 0
        self._running += 1
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            by_length = sorted(running, key=self._length)
            for length, ended in groupby(by_length, key=self._length):
                await asyncio.sleep(started + length * self._token_s - loop.time())
                for index in ended:
                    running.remove(index)
                    self.tokens[index] = trace.tokens[index] = length
                    report(Sample(index, measured(self._completion(index), measuring)))
        finally:
            self._running -= 1
            # Only if it is cancelled do any still run.
            so_far = int((loop.time() - started) / self._token_s + STEP)
            for index in running:
                self.tokens[index] = trace.tokens[index] = min(so_far, self._length(index))

    async def stream(self, request: ChatRequest, trace: Trace) -> AsyncGenerator[Delta, None]:
        """The whole answer as one delta, when it has ended."""
        outcomes: list[Sample] = []
        await self.sample(request, [0], trace, outcomes.append)
        completion = outcomes[0].outcome
        if not isinstance(completion, Completion):
            raise completion
        choice = {
            "index": 0,
            "delta": completion.message,
            "finish_reason": completion.finish_reason,
            "logprobs": completion.logprobs,
        }
        yield Delta(choice, completion.tokens, completion.prompt_tokens)

    def _length(self, index: int) -> int:
        return self._candidates[index].tokens

    def _completion(self, index: int) -> Completion:
        recorded = self._candidates[index]
        return Completion(
            message=recorded.message or {},
            finish_reason=recorded.finish_reason or "stop",
            tokens=recorded.tokens,
            prompt_tokens=self._prompt_tokens,
            logprobs=_logprobs(recorded),
        )


def _logprobs(recorded: RecordedCandidate) -> dict[str, Any] | None:
    """The log has their sum alone, so that every token gets the mean: sums and means are right,
    and what looks at single tokens is not."""
    if recorded.logprob is None:
        return None
    count = max(recorded.tokens, 1)
    return {"content": [{"logprob": recorded.logprob / count}] * count}
