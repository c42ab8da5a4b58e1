"""The settings of a judge: address, method, prompt and budget."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, Union

from pydantic import Discriminator, Field, PositiveInt, model_validator

from bon_gateway.backends.http.settings import UpstreamSettings
from bon_gateway.backends.reward.judge.asking import JudgeWay
from bon_gateway.backends.reward.judge.backend import JudgeReward
from bon_gateway.backends.reward.judge.method import MethodSettings
from bon_gateway.backends.reward.judge.pointwise import PointwiseSettings
from bon_gateway.backends.reward.judge.prompt import TEMPLATES, Prompt, own_prompt, users_prompt
from bon_gateway.backends.reward.judge.registry import METHODS
from bon_gateway.backends.settings import RewardSettings
from bon_gateway.sections.base import Section
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import ForTextAlone

if TYPE_CHECKING:
    AnyMethod = MethodSettings
else:
    AnyMethod = Annotated[(Union[METHODS], Discriminator("type"))]  # noqa: UP007 - of a tuple

OURS = ("model", "messages", "n", "stream", "stream_options", "logprobs", "tools", "tool_choice")
"""Fields of a request that the method needs to read the answer."""
ROOM = ("max_tokens", "max_completion_tokens")


class JudgeBudgetSettings(Section):
    """Limits of judging for one request to the gateway, retries included. An answer whose verdict
    would cost more has no reward. If no answer has one, the strategy's ``fallback`` decides."""

    calls: PositiveInt = 64
    """Largest number of calls. ``pointwise`` takes candidates x criteria x repeats."""
    tokens: PositiveInt | None = None
    """Largest number of tokens of prompts and replies together, cached ones included. Calls that
    already run may still go above it. None sets no limit."""


class JudgeSettings(UpstreamSettings, RewardSettings):
    type: Literal["judge"]
    method: AnyMethod = PointwiseSettings()
    """The judge's questions, and how its verdicts become rewards."""
    prompt: str | None = None
    """File with a Jinja template for the question. docs/judges.md lists its variables. None takes
    the method's own template."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each call, such as ``temperature`` (0 if unset), ``max_tokens``, ``seed``,
    ``chat_template_kwargs`` or ``reasoning_effort``. They override the method's own fields. Null
    leaves out a field that the endpoint does not know. ``generative_scoring`` samples nothing and
    takes only ``chat_template`` and ``chat_template_kwargs``."""
    thinking: ThinkingSettings | None = None
    """Marks of the judge's thinking inside the content; the verdict follows them. Leave None if the
    judge does not think, or if its engine runs a reasoning parser. A judge that thinks needs room
    for it in ``sampling.max_tokens``."""
    budget: JudgeBudgetSettings = JudgeBudgetSettings()
    """Limits of judging for one request."""
    at_once: PositiveInt = 16
    """Calls that run at the same time for one request."""
    lead: bool = False
    """Send the first call of a request alone, so that the others find the conversation in the
    judge's prefix cache. vLLM does not need this: it shares prefixes between calls that arrive
    together."""
    non_text_parts: ForTextAlone = "refuse"
    """As for ``reward_server``."""

    reads_call_ids: ClassVar[bool] = False

    @property
    def compares(self) -> bool:
        return self.method.compares

    @property
    def own_files(self) -> Sequence[Path]:
        return () if self.prompt is not None else (TEMPLATES / self.method.TEMPLATE,)

    @model_validator(mode="after")
    def _sampling_fits(self) -> Self:
        for field in OURS:
            if field in self.sampling:
                raise ValueError(f"sampling.{field}: the judge's method sets it")
        method = self.method
        if self.thinking is not None and not method.thinks:
            raise ValueError(f"thinking: with {method.type} the judge cannot think")
        if method.sampling_fields is not None:
            for field in sorted(self.sampling.keys() - method.sampling_fields):
                raise ValueError(
                    f"sampling.{field}: {method.type} samples nothing; it takes only"
                    f" {', '.join(method.sampling_fields)}"
                )
        if self.thinking is not None and not any(self.sampling.get(field) for field in ROOM):
            raise ValueError("sampling.max_tokens: a judge that thinks needs room for its thinking")
        return self

    @model_validator(mode="after")
    def _budget_is_enough_for_one(self) -> Self:
        needed = self.method.least_calls(2 if self.compares else 1)
        if needed > self.budget.calls:
            one = "one pair" if self.compares else "one answer"
            raise ValueError(f"budget.calls: {one} takes {needed} calls; raise it at least to that")
        return self

    def short_of(self, answers: int) -> str | None:
        needed, most = self.method.calls(answers), self.budget.calls
        if needed <= most:
            return None
        counts = range(answers + 1)
        enough = max(count for count in counts if self.method.least_calls(count) <= most)
        told = "too small for all repeats" if enough == answers else f"enough for {enough}"
        return f"budget.calls ({most}) is {told}; {answers} answers take {needed} calls"

    def check(self) -> None:
        super().check()
        self._prompt()
        self.method.check()

    def build(self, key: str | None) -> JudgeReward:
        way = JudgeWay(
            prompt=self._prompt(),
            sampling=self.sampling,
            thinking=self.thinking,
            secret=secrets.token_bytes(16),
            lead=self.lead,
            at_once=self.at_once,
            most_calls=self.budget.calls,
            most_tokens=self.budget.tokens,
        )
        return JudgeReward(
            self,
            key,
            way,
            self.method.build(),
            compares=self.compares,
            non_text_parts=self.non_text_parts,
        )

    def _prompt(self) -> Prompt:
        method = self.method
        if self.prompt is None:
            return own_prompt(method.TEMPLATE)
        return users_prompt(self.prompt, method.example, method.SHOWN)
