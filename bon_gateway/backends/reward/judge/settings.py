"""The settings of a judge: where the chat model is, how it is asked, what it may cost."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

from pydantic import Discriminator, Field, PositiveInt, model_validator

from bon_gateway.backends.http.settings import UpstreamSettings
from bon_gateway.backends.reward.judge.asking import JudgeWay
from bon_gateway.backends.reward.judge.backend import JudgeReward
from bon_gateway.backends.reward.judge.method import MethodSettings
from bon_gateway.backends.reward.judge.pointwise import PointwiseSettings
from bon_gateway.backends.reward.judge.prompt import Prompt, own_prompt, users_prompt
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
"""Fields of a request that decide how its answer is read."""
ROOM = ("max_tokens", "max_completion_tokens")


class JudgeBudgetSettings(Section):
    """The most that the judge may be asked for one request to the gateway, retries included. An
    answer whose verdict would cost more has no reward, and the strategy's ``fallback`` decides if
    none has one."""

    calls: PositiveInt = 64
    """Calls. ``pointwise`` takes candidates x criteria x repeats."""
    tokens: PositiveInt | None = None
    """Tokens of prompts and replies together, cached ones included. Calls that run when the limit
    is reached still end. None sets no limit."""


class JudgeSettings(UpstreamSettings, RewardSettings):
    type: Literal["judge"]
    method: AnyMethod = PointwiseSettings()
    """How the judge is asked, and how its verdicts become rewards."""
    prompt: str | None = None
    """Jinja template of the question that takes the place of the method's own: a file. The prompts
    page says which variables it has. None takes ours."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each call, such as ``temperature`` (0 if unset), ``max_tokens``, ``seed``,
    ``chat_template_kwargs`` or ``reasoning_effort``. They take the place of the method's; null
    leaves a field out that the endpoint does not know."""
    thinking: ThinkingSettings | None = None
    """How the judge marks thinking inside the content: the verdict is what follows. None for a
    judge that does not think, and for an engine that runs a reasoning parser. A judge that thinks
    needs ``sampling.max_tokens`` with room for it."""
    budget: JudgeBudgetSettings = JudgeBudgetSettings()
    """The most that the judge may be asked for one request."""
    at_once: PositiveInt = 16
    """Calls that run at the same time for one request."""
    lead: bool = False
    """Whether the first call of a request goes alone, so that the others find the conversation in
    the judge's prefix cache. vLLM shares prefixes of calls that arrive together, and needs none."""
    non_text_parts: ForTextAlone = "refuse"
    """As for ``reward_server``."""

    @property
    def compares(self) -> bool:
        return self.method.compares

    @model_validator(mode="after")
    def _sampling_fits(self) -> Self:
        for field in OURS:
            if field in self.sampling:
                raise ValueError(f"sampling.{field}: the judge's method sets it")
        if self.thinking is not None and not any(self.sampling.get(field) for field in ROOM):
            raise ValueError("sampling.max_tokens: a judge that thinks needs room for its thinking")
        return self

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
