"""The settings of a comparison: frozen, unknown keys refused. They build nothing and do no I/O."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    create_model,
    model_validator,
)

from bon_common.hooks import HookName
from bon_gateway.sections.base import Section, Url
from bon_gateway.settings.tree import AnyReward
from bon_gateway.strategies.registry import request_fields

SELECTION = "selection"
"""The scorer that calls nothing: the reward by which the gateway chose the winner."""
JUDGE = "judge"
"""The name of the judge of win rates, beside the scorers' names."""


if TYPE_CHECKING:
    BonOverride = Section
else:
    # What a request's own ``bon`` object may ask for.
    BonOverride = create_model("BonOverride", __base__=Section, **request_fields())


class PriceSettings(Section):
    """The price of one model's tokens: per million, or by the hour and the throughput."""

    input_per_million: NonNegativeFloat | None = None
    """Money for a million input tokens: a policy's prompt, or everything a reward model reads."""
    output_per_million: NonNegativeFloat | None = None
    """Money for a million generated tokens."""
    hour: NonNegativeFloat | None = None
    """Money for one hour of the machine, fully used at the throughputs below."""
    input_tokens_per_s: PositiveFloat | None = None
    """Input tokens that the machine reads in a second."""
    output_tokens_per_s: PositiveFloat | None = None
    """Output tokens that it generates in a second. None: as many as it reads."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        by_token = self.input_per_million is not None or self.output_per_million is not None
        if by_token and self.hour is not None:
            raise ValueError("give prices per million tokens or by the hour, not both")
        if not by_token and self.hour is None:
            raise ValueError("needs input_per_million and output_per_million, or hour")
        if self.hour is not None and self.input_tokens_per_s is None:
            raise ValueError("hour needs input_tokens_per_s")
        return self


class PricesSettings(Section):
    currency: str = "USD"
    """The currency's name in the report."""
    policy: PriceSettings | None = None
    """None: costs are in tokens only, and there is no break-even."""
    reward: PriceSettings | None = None
    """None: what the reward model reads costs nothing."""
    machine_hour: NonNegativeFloat | None = None
    """Money for an hour of all machines that serve one arm. With ``target`` the report then has a
    second cost, at the highest rate measured."""


class TrainingSettings(Section):
    """The cost of making a tuned policy once: the sum of everything given here."""

    money: NonNegativeFloat = 0.0
    """A cost you know already, in the currency of the prices."""
    hours: NonNegativeFloat = 0.0
    """Machine hours that you know already."""
    records: tuple[Path, ...] = ()
    """Output folders of ``bon-train``; adds the seconds in their ``metrics.jsonl``."""
    figures: Path | None = None
    """``figures.json`` of ``bon-train demo-train``, with the seconds of each step."""
    steps: tuple[str, ...] = ()
    """The steps of ``figures`` to add, such as ``pairs`` and ``dpo``."""
    hour: NonNegativeFloat | None = None
    """Money for one machine hour of training."""
    pairs: Annotated[int, Field(ge=0)] = 0
    """Preference pairs that were labelled."""
    money_per_pair: NonNegativeFloat = 0.0
    """Price of labelling one pair."""
    retrains_per_month: NonNegativeFloat = 0.0
    """How often the policy is trained again; 0 trains once."""

    @model_validator(mode="after")
    def _hours_have_a_price(self) -> Self:
        if (self.hours or self.records or self.figures) and self.hour is None:
            raise ValueError("machine hours need their price: hour")
        if bool(self.figures) != bool(self.steps):
            raise ValueError("figures and steps go together")
        return self


class ArmSettings(Section):
    url: Url | None = None
    """Base address, with or without ``/v1``; none with ``--embedded``."""
    model: str
    """The model to ask for."""
    bon: BonOverride | None = None
    """The request's ``bon`` object. None sends none, as other OpenAI endpoints require."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Sampling parameters of this arm, which override the common ``sampling``."""
    api_key_env: str | None = None
    """Environment variable with the key to send."""
    training: str | None = None
    """A name in ``training``: this arm is a tuned policy. Arms without it are the base policy."""
    policy_price: PriceSettings | None = None
    """Replaces ``prices.policy`` for this arm."""
    reward_price: PriceSettings | None = None
    """Replaces ``prices.reward`` for this arm."""


class PromptsSettings(Section):
    file: Path
    """JSON lines: ``{"prompt": text or messages}`` or ``{"messages": [...]}``."""
    limit: PositiveInt | None = None
    """Use this number of prompts, drawn by the seed; None uses all."""


class LoadSettings(Section):
    mode: Literal["closed", "open"] = "closed"
    """``closed`` keeps a number of requests in flight; ``open`` sends requests at a given rate,
    whether or not earlier ones are answered."""
    concurrency: PositiveInt = 4
    """Requests in flight in the closed mode."""
    rates: tuple[PositiveFloat, ...] = ()
    """Requests a second over all arms in the open mode; one phase for each rate."""
    repeats: PositiveInt = 1
    """How often each arm is asked each prompt, in each phase."""
    duration_s: PositiveFloat | None = None
    """No request of a phase starts later than this; None asks all."""
    warm_up: Annotated[int, Field(ge=0)] = 2
    """Requests to each arm before the measurement; they are recorded and in no figure."""
    timeout_s: PositiveFloat = 120.0
    """A request that takes longer counts as failed."""
    stream: bool = False
    """Ask for streams, to measure the time to the first token."""
    stop_after_s: PositiveFloat | None = None
    """Stop after this time, as an interrupt would, and report what was measured."""

    @model_validator(mode="after")
    def _open_has_rates(self) -> Self:
        if self.mode == "open" and not self.rates:
            raise ValueError("mode open needs rates")
        return self


class TargetSettings(Section):
    """The highest rate of requests that still meets a latency."""

    latency_ms: PositiveFloat
    """The latency that must not be exceeded."""
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """The share of requests that must meet it."""
    requests: PositiveInt = 40
    """Requests at each rate that is tried."""
    start_rate: PositiveFloat = 1.0
    """The first rate, in requests a second. It doubles while the target is met; then the search
    halves the gap to the last rate that met it."""
    refinements: Annotated[int, Field(ge=0)] = 3
    """Number of halvings after the first rate that misses the target."""
    max_rate: PositiveFloat = 1000.0
    """No higher rate is tried."""


class HookSettings(Section):
    function: HookName
    """``package.module:function``, called with messages and the answer's text."""
    field: str | None = None
    """The attribute of the returned object that is the score; None if it returns a number."""


class ScorerSettings(Section):
    """Exactly one of ``url``, ``hook`` and ``reward``."""

    url: Url | None = None
    """Base address of a reward server."""
    model: str | None = None
    """The model to ask for; None takes the server's only one."""
    api_key_env: str | None = None
    """Environment variable with the key to send."""
    hook: HookSettings | None = None
    """A Python function that scores."""
    reward: AnyReward | None = None
    """Any reward that the gateway knows, such as a judge, with the keys of a section in the
    gateway's ``rewards``. It scores all answers to a prompt in one call. An ensemble's members are
    the rewards of other scorers, by the scorers' names."""
    timeout_s: PositiveFloat = 60.0
    """Longest that one call may take."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(one is not None for one in (self.url, self.hook, self.reward)) != 1:
            raise ValueError("needs exactly one of url, hook and reward")
        return self

    @property
    def is_model(self) -> bool:
        """Whether it may be the model that selects; a function may be the truth."""
        return self.hook is None and (self.reward is None or self.reward.type != "hook")


class QualitySettings(Section):
    scorers: dict[str, ScorerSettings] = Field(default_factory=dict)
    """Scorers by name; each one scores every answer."""
    primary: str = SELECTION
    """The scorer that decides; ``selection`` is the gateway's own reward, which flatters the arms
    that choose by it."""
    against: str | None = None
    """The arm that the others are compared with for win rates; None is the first."""
    judge: AnyReward | None = None
    """Any reward that the gateway knows, with the keys of a section in the gateway's ``rewards``.
    It gets each answer together with that of the arm ``against``. The higher reward wins, and equal
    rewards tie."""

    @model_validator(mode="after")
    def _one_judge(self) -> Self:
        if JUDGE in self.scorers:
            raise ValueError(f"scorers.{JUDGE}: the name is taken, by the judge of win rates")
        return self


class CompareSettings(Section):
    output: Path = Path("runs/compare")
    """Folder for the report, its figures and the records."""
    arms: dict[str, ArmSettings] = Field(min_length=1)
    """What is compared, by name: served models, or N values of one."""
    greedy: bool = True
    """Also ask each base policy that has an arm of several candidates once at temperature 0: what
    best-of-N must beat."""
    prompts: PromptsSettings
    """What every arm is asked."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Sampling parameters of each request: temperature, max_tokens and so on."""
    load: LoadSettings = LoadSettings()
    """How the requests are sent."""
    target: TargetSettings | None = None
    quality: QualitySettings = QualitySettings()
    """How the answers are judged."""
    prices: PricesSettings = PricesSettings()
    """What tokens and machines cost."""
    training: dict[str, TrainingSettings] = Field(default_factory=dict)
    """What each tuned policy cost to make, by name."""
    requests_per_day: PositiveFloat = 20000.0
    """The traffic that the verdict assumes."""
    seed: int = 0
    """Seed of the order of requests, the choice of prompts and the bootstrap."""
    resamples: Annotated[int, Field(ge=100)] = 1000
    """Number of resamples of the bootstrap."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence level of all intervals."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, arm in self.arms.items():
            if arm.training is not None and arm.training not in self.training:
                raise ValueError(f"arms.{name}.training: there is no training {arm.training!r}")
        if self.quality.against is not None and self.quality.against not in self.arms:
            raise ValueError(f"quality.against: there is no arm {self.quality.against!r}")
        if self.quality.primary not in {SELECTION, *self.quality.scorers}:
            raise ValueError(f"quality.primary: there is no scorer {self.quality.primary!r}")
        if SELECTION in self.quality.scorers:
            raise ValueError(f"quality.scorers: the name {SELECTION!r} is taken")
        return self

    @property
    def against(self) -> str:
        return self.quality.against or next(iter(self.arms))
