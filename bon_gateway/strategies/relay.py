"""The first candidates of a request from one policy, all further ones from another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bon_gateway.protocols import CandidateSource, Trace
from bon_gateway.types import ChatRequest, ReportSample


@dataclass(frozen=True, slots=True)
class Leg:
    """A policy and its name, which marks its candidates unless it has variants."""

    name: str
    policy: CandidateSource

    async def sample(
        self, request: ChatRequest, indices: Sequence[int], trace: Trace, report: ReportSample
    ) -> None:
        for index in indices:
            trace.variants[index] = self.name
        await self.policy.sample(request, indices, trace, report)


@dataclass(frozen=True, slots=True)
class Relay:
    """A CandidateSource for one request. Indices below ``handover`` belong to ``first``."""

    first: Leg
    then: Leg
    handover: int

    async def sample(
        self, request: ChatRequest, indices: Sequence[int], trace: Trace, report: ReportSample
    ) -> None:
        early = [index for index in indices if index < self.handover]
        late = [index for index in indices if index >= self.handover]
        async with asyncio.TaskGroup() as tasks:
            for leg, share in ((self.first, early), (self.then, late)):
                if share:
                    tasks.create_task(leg.sample(request, share, trace, report))
