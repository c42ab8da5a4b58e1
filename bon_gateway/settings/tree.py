"""The gateway's settings: one frozen, closed tree, put together from the sections of its parts.

It validates and describes. It builds nothing and does no I/O: ``loader`` reads the file, the
environment and the flags, and ``factory`` builds the gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self, Union

from pydantic import (
    Discriminator,
    Field,
    SerializeAsAny,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from bon_gateway.backends.policy import registry as policies
from bon_gateway.backends.reward import registry as rewards
from bon_gateway.backends.settings import BackendSettings, PolicySettings, RewardSettings
from bon_gateway.sections.base import Component, Section
from bon_gateway.sections.history import HistorySettings
from bon_gateway.sections.recording import RecordingSettings
from bon_gateway.sections.server import AuthSettings, LimitsSettings, ServerSettings
from bon_gateway.strategies import registry as strategies
from bon_gateway.strategies.settings import StrategySettings


def _made_or_described(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """A plugin's settings are already an object, which ``plugins`` has made."""
    return value if isinstance(value, Component) else validate(value)


if TYPE_CHECKING:
    AnyPolicy = PolicySettings
    AnyReward = RewardSettings
    AnyStrategy = StrategySettings
else:
    # The class of a plugin's settings is not in these unions; SerializeAsAny writes all its fields.
    _COMPONENT = (Discriminator("type"), WrapValidator(_made_or_described), SerializeAsAny())
    AnyPolicy = Annotated[(Union[policies.KINDS], *_COMPONENT)]  # noqa: UP007 - of a tuple
    AnyReward = Annotated[(Union[rewards.KINDS], *_COMPONENT)]  # noqa: UP007 - of a tuple
    AnyStrategy = Annotated[(Union[strategies.KINDS], *_COMPONENT)]  # noqa: UP007 - of a tuple


class ServedModelSettings(Section):
    policy: str
    """A name in ``policies``."""
    reward: str | None = None
    """A name in ``rewards``. Strategies that choose by reward need it."""
    strategy: AnyStrategy
    """The strategy of requests that do not ask for another."""
    allow_override: bool = True
    """Whether a request's ``bon`` object may change the strategy."""


class Settings(Section):
    policies: dict[str, AnyPolicy] = Field(min_length=1)
    """The models that generate, by name."""
    rewards: dict[str, AnyReward] = Field(default_factory=dict)
    """The models that score, by name."""
    models: dict[str, ServedModelSettings] = Field(min_length=1)
    """The models that clients may ask for, by name."""
    server: ServerSettings = ServerSettings()
    """Listening, connections and shutdown."""
    auth: AuthSettings = AuthSettings()
    """Who may call."""
    limits: LimitsSettings = LimitsSettings()
    """Limits for one request, one key and one worker."""
    recording: RecordingSettings = RecordingSettings()
    """The candidate log."""
    history: HistorySettings = HistorySettings()
    """What strategies learn from earlier requests."""

    @property
    def backends(self) -> dict[str, BackendSettings]:
        """All policies and reward models, as ``policies.<name>`` and ``rewards.<name>``."""
        return {
            **{f"policies.{name}": policy for name, policy in self.policies.items()},
            **{f"rewards.{name}": reward for name, reward in self.rewards.items()},
        }

    @property
    def components(self) -> dict[str, Component]:
        """The backends, and each served model's strategy as ``models.<name>.strategy``."""
        strategies = {f"models.{n}.strategy": served.strategy for n, served in self.models.items()}
        return {**self.backends, **strategies}

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for name, served in self.models.items():
            if served.policy not in self.policies:
                raise ValueError(f"models.{name}.policy: no policy is named {served.policy!r}")
            if served.reward is not None and served.reward not in self.rewards:
                raise ValueError(f"models.{name}.reward: no reward is named {served.reward!r}")
            if served.reward is None and served.strategy.needs_reward:
                raise ValueError(
                    f"models.{name}.reward: strategy {served.strategy.type} needs a reward"
                )
            if served.strategy.drawn > self.limits.max_n:
                raise ValueError(
                    f"models.{name}.strategy: it draws {served.strategy.drawn} candidates, above"
                    f" limits.max_n ({self.limits.max_n})"
                )
            per_key = self.limits.max_candidates_per_key
            if per_key is not None and served.strategy.drawn > per_key:
                raise ValueError(
                    f"limits.max_candidates_per_key: must not be below the"
                    f" {served.strategy.drawn} candidates that models.{name} draws"
                )
            for key in ("max_tokens_per_request", "tokens_per_key"):
                tokens = getattr(self.limits, key)
                if tokens is not None and served.strategy.drawn > tokens:
                    raise ValueError(
                        f"limits.{key}: must not be below the {served.strategy.drawn} candidates"
                        f" that models.{name} draws"
                    )
        if self.limits.max_n > self.limits.max_candidates:
            raise ValueError("limits.max_candidates: must not be below limits.max_n")
        return self
