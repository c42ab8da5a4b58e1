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
from bon_gateway.backends.settings import (
    BackendSettings,
    ComposedRewardSettings,
    MixSettings,
    PolicySettings,
    RewardSettings,
)
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
    AnyPolicy = PolicySettings | MixSettings
    AnyReward = RewardSettings | ComposedRewardSettings
    AnyStrategy = StrategySettings
else:
    # The class of a plugin's settings is not in these unions; SerializeAsAny writes all its fields.
    _COMPONENT = (Discriminator("type"), WrapValidator(_made_or_described), SerializeAsAny())
    AnyPolicy = Annotated[(Union[(*policies.KINDS, *policies.MIXED)], *_COMPONENT)]
    AnyReward = Annotated[(Union[(*rewards.KINDS, *rewards.COMPOSED)], *_COMPONENT)]
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
    """The models that generate, by name, and mixes of them."""
    rewards: dict[str, AnyReward] = Field(default_factory=dict)
    """The models that score, and ensembles of them, by name."""
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
    def reward_models(self) -> dict[str, RewardSettings]:
        """The rewards that are not made of others."""
        return {
            name: reward
            for name, reward in self.rewards.items()
            if not isinstance(reward, ComposedRewardSettings)
        }

    @property
    def composed_rewards(self) -> dict[str, ComposedRewardSettings]:
        """The rewards that are made of ``reward_models``."""
        return {
            name: reward
            for name, reward in self.rewards.items()
            if isinstance(reward, ComposedRewardSettings)
        }

    @property
    def plain_policies(self) -> dict[str, PolicySettings]:
        """Those with a model of their own."""
        found = self.policies.items()
        return {name: policy for name, policy in found if isinstance(policy, PolicySettings)}

    @property
    def mixes(self) -> dict[str, MixSettings]:
        """Those that are made of others."""
        found = self.policies.items()
        return {name: policy for name, policy in found if isinstance(policy, MixSettings)}

    def revision_of(self, policy: str) -> str | None:
        """The policy's revision; of a mix without one, those of the policies that it asks."""
        settings, mix = self.policies[policy], self.mixes.get(policy)
        if settings.revision is not None or mix is None:
            return settings.revision
        named = {name: self.policies[name].revision for name in mix.asks}
        told = [f"{name} {revision}" for name, revision in named.items() if revision is not None]
        return ", ".join(told) or None

    def _think_alike(self, one: str, other: str) -> bool:
        """Whether two policies have the same ``thinking``, which all parts of a mix share."""
        plain = [self.mixes[n].asks[0] if n in self.mixes else n for n in (one, other)]
        first, second = [self.plain_policies[name].thinking for name in plain]
        return first == second

    @property
    def backends(self) -> dict[str, BackendSettings]:
        """All models, as ``policies.<name>`` and ``rewards.<name>``."""
        return {
            **{f"policies.{name}": policy for name, policy in self.plain_policies.items()},
            **{f"rewards.{name}": reward for name, reward in self.rewards.items()},
        }

    @property
    def components(self) -> dict[str, Component]:
        """The backends, and each served model's strategy as ``models.<name>.strategy``."""
        strategies = {f"models.{n}.strategy": served.strategy for n, served in self.models.items()}
        return {**self.backends, **strategies}

    @model_validator(mode="after")
    def _rewards_are_made_of_reward_models(self) -> Self:
        for name, reward in self.composed_rewards.items():
            try:
                reward.check_over(self.reward_models)
            except ValueError as error:
                raise ValueError(f"rewards.{name}.{error}") from None
        return self

    @model_validator(mode="after")
    def _mixes_fit(self) -> Self:
        for name, mix in self.mixes.items():
            try:
                mix.check_over(self.plain_policies)
            except ValueError as error:
                raise ValueError(f"policies.{name}.{error}") from None
        return self

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
            for key, asked in served.strategy.asks.items():
                path = f"models.{name}.strategy.{key}"
                if asked not in self.policies:
                    raise ValueError(f"{path}: no policy is named {asked!r}")
                if not self._think_alike(asked, served.policy):
                    raise ValueError(
                        f"{path}: {asked!r} has another thinking than {served.policy!r}, and one"
                        " answer is read in one way"
                    )
        return self

    @model_validator(mode="after")
    def _strategies_keep_to_the_limits(self) -> Self:
        limits = self.limits
        for name, served in self.models.items():
            drawn = served.strategy.drawn
            if drawn > limits.max_n:
                raise ValueError(
                    f"models.{name}.strategy: it draws {drawn} candidates, above"
                    f" limits.max_n ({limits.max_n})"
                )
            # A candidate has at least one token.
            for key in ("max_candidates_per_key", "max_tokens_per_request", "tokens_per_key"):
                most = getattr(limits, key)
                if most is not None and drawn > most:
                    raise ValueError(
                        f"limits.{key}: must not be below the {drawn} candidates that"
                        f" models.{name} draws"
                    )
        if limits.max_n > limits.max_candidates:
            raise ValueError("limits.max_candidates: must not be below limits.max_n")
        return self
