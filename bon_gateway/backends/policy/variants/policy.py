"""Deals the candidates of one request to several policies, or to one in several ways.

It has no upstream of its own: the policies under it are started, watched and closed by the gateway,
which serves them beside it. As every backend it never draws again by itself. A candidate that is
drawn again goes to a variant of another policy, if one is up.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bon_common.selection.shares import dealt_among, turns
from bon_gateway.backends.passive import PassiveBackend
from bon_gateway.backends.policy.variants.prompt import asked
from bon_gateway.backends.policy.variants.settings import VariantSettings
from bon_gateway.backends.settings import ComposedPolicySettings, PolicySettings
from bon_gateway.protocols import PolicyBackend, Trace
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import ChatRequest, Delta, ReportSample

MOST_VARIANTS = 32


class VariantsSettings(ComposedPolicySettings):
    type: Literal["variants"]
    of: Annotated[tuple[VariantSettings, ...], Field(min_length=1, max_length=MOST_VARIANTS)]
    """The variants. Candidates are dealt to them in their shares, in a fixed order. Candidate 0
    goes to the variant with the largest share, the first of equals."""

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        labels = [variant.label for variant in self.of]
        for place, label in enumerate(labels):
            if label in labels[:place]:
                raise ValueError(f"two variants are called {label!r}; give each its own name")
        return self

    @property
    def asks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(variant.policy for variant in self.of))

    @property
    def further_models(self) -> tuple[tuple[str, str], ...]:
        named = [(variant.policy, variant.model) for variant in self.of]
        return tuple(dict.fromkeys((p, model) for p, model in named if model is not None))

    def check_over(self, policies: Mapping[str, PolicySettings]) -> None:
        for place, variant in enumerate(self.of):
            policy = policies.get(variant.policy)
            if policy is None:
                raise ValueError(
                    f"of.{place}.policy: no policy with a model of its own is named"
                    f" {variant.policy!r}"
                )
            if variant.model is not None and not policy.serves_several:
                raise ValueError(f"of.{place}.model: policy {variant.policy!r} has only one model")
            if policy.thinking != policies[self.of[0].policy].thinking:
                raise ValueError(
                    f"of.{place}.policy: {variant.policy!r} has another thinking than"
                    f" {self.of[0].policy!r}, and one answer is read in one way"
                )

    def compose(self, policies: Mapping[str, PolicyBackend]) -> VariantsPolicy:
        return VariantsPolicy(self, policies)


class VariantsPolicy(PassiveBackend):
    """A ComposedPolicy. ``policies`` has every policy that a variant names."""

    def __init__(self, settings: VariantsSettings, policies: Mapping[str, PolicyBackend]) -> None:
        self._settings = settings
        self._variants = settings.of
        self._policies = {name: policies[name] for name in settings.asks}
        self._shares = [variant.share for variant in settings.of]
        self._turns = turns(self._shares)

    def over(self, policies: Mapping[str, PolicyBackend]) -> VariantsPolicy:
        if all(policies[name] is policy for name, policy in self._policies.items()):
            return self
        return VariantsPolicy(self._settings, policies)

    @property
    def thinking(self) -> ThinkingSettings | None:
        """The settings want it to be the same for all."""
        return self._policies[self._variants[0].policy].thinking

    def ready(self) -> bool:
        return any(policy.ready() for policy in self._policies.values())

    async def sample(
        self, request: ChatRequest, indices: Sequence[int], trace: Trace, report: ReportSample
    ) -> None:
        up = self._up()
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for index in indices:
            groups[self._deal(index, up, trace)].append(index)
        async with asyncio.TaskGroup() as tasks:
            for place, group in groups.items():
                variant = self._variants[place]
                policy = self._policies[variant.policy]
                tasks.create_task(policy.sample(asked(request, variant), group, trace, report))

    def stream(self, request: ChatRequest, trace: Trace) -> AsyncGenerator[Delta, None]:
        variant = self._variants[self._deal(0, self._up(), trace)]
        return self._policies[variant.policy].stream(asked(request, variant), trace)

    def _up(self) -> frozenset[str]:
        return frozenset(name for name, policy in self._policies.items() if policy.ready())

    def _deal(self, index: int, up: Collection[str], trace: Trace) -> int:
        """The place of the variant that draws the candidate now, which is noted in ``trace``.

        It is the candidate's own, unless that one's policy is down or was tried before, while
        another policy is up.
        """
        tried = trace.tried.setdefault(index, set())
        able = [name for name in up if name not in tried] or up
        place = self._turns[index % len(self._turns)]
        if self._variants[place].policy not in able:
            among = [p for p, variant in enumerate(self._variants) if variant.policy in able]
            place = dealt_among(index, self._shares, among)
        tried.add(self._variants[place].policy)
        trace.variants[index] = self._variants[place].label
        return place
