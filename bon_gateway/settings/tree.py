"""The gateway's settings: one frozen, closed tree, put together from the sections of its parts.

It validates and describes. It builds nothing and does no I/O: ``loader`` reads the file, the
environment and the flags, and ``factory`` builds the gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

from pydantic import (
    Discriminator,
    Field,
    SerializeAsAny,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from bon_gateway.backends.embedder import registry as embedders
from bon_gateway.backends.policy import registry as policies
from bon_gateway.backends.reward import registry as rewards
from bon_gateway.backends.reward.ensemble.members import (
    HowJoined,
    Joining,
    OnMissing,
    Penalty,
    RewardMemberSettings,
    Tolerance,
    check_over,
)
from bon_gateway.backends.reward.ensemble.settings import RewardEnsembleSettings
from bon_gateway.backends.settings import (
    BackendSettings,
    ComposedPolicySettings,
    ComposedRewardSettings,
    EmbedderSettings,
    PolicySettings,
    RewardSettings,
    compares,
    labels_of,
)
from bon_gateway.sections.base import Component, Section
from bon_gateway.sections.history import HistorySettings
from bon_gateway.sections.recording import RecordingSettings
from bon_gateway.sections.server import AuthSettings, LimitsSettings, ServerSettings
from bon_gateway.strategies import registry as strategies
from bon_gateway.strategies.settings import StrategySettings
from bon_gateway.verifiers import registry as verifiers
from bon_gateway.verifiers.registry import AnyVerifier
from bon_gateway.verifiers.settings import VerifierSettings, check_names

JOINING_KEYS = ("combine", "penalty", "tolerance", "on_missing")


def _made_or_described(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """A plugin's settings are already an object, which ``plugins`` has made."""
    return value if isinstance(value, Component) else validate(value)


if TYPE_CHECKING:
    AnyPolicy = PolicySettings | ComposedPolicySettings
    AnyReward = RewardSettings | ComposedRewardSettings
    AnyEmbedder = EmbedderSettings
    AnyStrategy = StrategySettings
else:
    # The class of a plugin's settings is not in these unions; SerializeAsAny writes all its fields.
    _COMPONENT = (Discriminator("type"), WrapValidator(_made_or_described), SerializeAsAny())
    AnyPolicy = Annotated[(Union[(*policies.KINDS, *policies.COMPOSED)], *_COMPONENT)]
    AnyReward = Annotated[
        (Union[(*rewards.KINDS, *verifiers.REWARDS, *rewards.COMPOSED)], *_COMPONENT)
    ]
    AnyEmbedder = Annotated[(Union[embedders.KINDS], Discriminator("type"))]  # noqa: UP007 - of a tuple
    AnyStrategy = Annotated[(Union[strategies.KINDS], *_COMPONENT)]  # noqa: UP007 - of a tuple


class ServedModelSettings(Section):
    policy: str
    """A name in ``policies``."""
    reward: str | None = None
    """A name in ``rewards``. Strategies that choose by reward need it, or ``rewards``."""
    rewards: tuple[RewardMemberSettings, ...] = ()
    """Several rewards in place of one: this model's own ensemble. The next four keys work as in
    ``type: ensemble``."""
    combine: Joining = "mean"
    """How ``rewards`` become one."""
    penalty: Penalty = 1.0
    """Weight of the standard deviation or the variance, with ``mean_minus_sd`` or
    ``mean_minus_variance``."""
    tolerance: Tolerance = 0.25
    """Width of a step, with ``combine: lexicographic``."""
    on_missing: OnMissing = "leave_out"
    """What to do if one of ``rewards`` is down."""
    strategy: AnyStrategy
    """The strategy of requests that do not ask for another."""
    allow_override: bool = True
    """Whether a request's ``bon`` object may change the strategy."""
    verifier: tuple[AnyVerifier, ...] = ()
    """Verifiers that check each candidate before the best is chosen, see docs/verifiers.md. A
    candidate that one of them fails can win only if all candidates fail."""
    on_all_failed: Literal["best", "error"] = "best"
    """What to answer if the verifiers fail all candidates: ``best`` takes the best of them, marked
    ``verification_failed``; ``error`` is an error (502)."""

    @model_validator(mode="after")
    def _verifiers_decide(self) -> Self:
        check_names(self.verifier)
        if self.verifier and not self.strategy.verifies:
            raise ValueError(
                f"verifier: strategy {self.strategy.type} verifies nothing; take another, such as"
                " best_of_n with n: 1"
            )
        for place, one in enumerate(self.verifier):
            if not one.decides:
                raise ValueError(
                    f"verifier.{place}.pass_threshold: say from which score an answer passes"
                )
        return self

    @property
    def scored(self) -> bool:
        """Whether candidates get rewards."""
        return self.reward is not None or bool(self.rewards)

    def reward_name(self, model: str) -> str | None:
        """The name of its reward. For ``rewards`` that is their place in the settings, by the name
        of this ``model``."""
        return f"models.{model}.rewards" if self.rewards else self.reward

    @property
    def ensemble(self) -> RewardEnsembleSettings | None:
        """The ensemble that ``rewards`` describe."""
        if not self.rewards:
            return None
        return RewardEnsembleSettings(
            type="ensemble",
            members=self.rewards,
            combine=self.combine,
            penalty=self.penalty,
            tolerance=self.tolerance,
            on_missing=self.on_missing,
        )

    @model_validator(mode="after")
    def _one_reward_or_several(self) -> Self:
        if self.rewards:
            if self.reward is not None:
                raise ValueError("rewards: there is a reward already; set one of the two")
            HowJoined(self.combine, self.penalty, self.tolerance).check(self.rewards, "rewards")
            return self
        for key in JOINING_KEYS:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: has no meaning without rewards")
        return self


class Settings(Section):
    policies: dict[str, AnyPolicy] = Field(min_length=1)
    """The models that generate, by name, and variants of them."""
    rewards: dict[str, AnyReward] = Field(default_factory=dict)
    """The models that score, and ensembles of them, by name."""
    embedders: dict[str, AnyEmbedder] = Field(default_factory=dict)
    """The models that turn answers into vectors, by name, for strategies that compare meaning."""
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
    def policy_models(self) -> dict[str, PolicySettings]:
        """Policies with their own model."""
        found = self.policies.items()
        return {name: one for name, one in found if isinstance(one, PolicySettings)}

    @property
    def composed_policies(self) -> dict[str, ComposedPolicySettings]:
        """Policies composed of ``policy_models``."""
        found = self.policies.items()
        return {name: one for name, one in found if isinstance(one, ComposedPolicySettings)}

    @property
    def reward_models(self) -> dict[str, RewardSettings]:
        """The rewards that are not made of others."""
        found = self.rewards.items()
        return {name: one for name, one in found if isinstance(one, RewardSettings)}

    @property
    def composed_rewards(self) -> dict[str, ComposedRewardSettings]:
        """Rewards composed of ``reward_models``, served models' own ones included."""
        found = self.rewards.items()
        named = {name: one for name, one in found if isinstance(one, ComposedRewardSettings)}
        return named | self._own_rewards

    @property
    def _own_rewards(self) -> dict[str, RewardEnsembleSettings]:
        """The served models' ``rewards``, by ``reward_name``."""
        return {
            name: ensemble
            for model, served in self.models.items()
            if (name := served.reward_name(model)) and (ensemble := served.ensemble)
        }

    def labels_of(self, reward: str) -> tuple[str, ...]:
        """The labels of this reward that ensembles read."""
        return labels_of(reward, self.composed_rewards.values())

    def revision_of(self, policy: str) -> str | None:
        """The policy's revision. A composed policy without its own has the revisions of the
        policies that it asks."""
        settings, composed = self.policies[policy], self.composed_policies.get(policy)
        if settings.revision is not None or composed is None:
            return settings.revision
        named = {name: self.policies[name].revision for name in composed.asks}
        told = [f"{name} {revision}" for name, revision in named.items() if revision is not None]
        return ", ".join(told) or None

    def _think_alike(self, one: str, other: str) -> bool:
        """Whether two policies have the same ``thinking``, which all parts of a composed one
        share."""
        composed = self.composed_policies
        models = [composed[n].asks[0] if n in composed else n for n in (one, other)]
        first, second = [self.policy_models[name].thinking for name in models]
        return first == second

    @property
    def backends(self) -> dict[str, BackendSettings]:
        """All models, as ``policies.<name>``, ``rewards.<name>`` and ``embedders.<name>``."""
        return {
            **{f"policies.{name}": one for name, one in self.policy_models.items()},
            **{f"rewards.{name}": one for name, one in self.reward_models.items()},
            **{f"embedders.{name}": one for name, one in self.embedders.items()},
        }

    @property
    def composed(self) -> dict[str, ComposedPolicySettings | ComposedRewardSettings]:
        """Composed policies and rewards, by paths of the same form."""
        return {
            **{f"policies.{name}": one for name, one in self.composed_policies.items()},
            **{f"rewards.{name}": one for name, one in self.composed_rewards.items()},
        }

    @model_validator(mode="after")
    def _own_rewards_fit(self) -> Self:
        for model, served in self.models.items():
            try:
                check_over(served.rewards, self.reward_models, "rewards")
            except ValueError as error:
                raise ValueError(f"models.{model}.{error}") from None
        for name in self._own_rewards.keys() & self.rewards.keys():
            raise ValueError(f"rewards.{name}: this is the name of {name}; choose another")
        return self

    @property
    def verifiers(self) -> dict[str, VerifierSettings]:
        """Verifiers of all served models, as ``models.<name>.verifier.<place>``."""
        return {
            f"models.{name}.verifier.{place}": one
            for name, served in self.models.items()
            for place, one in enumerate(served.verifier)
        }

    @property
    def components(self) -> dict[str, Component]:
        """All of these, and each served model's strategy as ``models.<name>.strategy``."""
        strategies = {f"models.{n}.strategy": served.strategy for n, served in self.models.items()}
        return {**self.backends, **self.composed, **strategies, **self.verifiers}

    @model_validator(mode="after")
    def _composed_fit(self) -> Self:
        for path, composed in self.composed.items():
            try:
                if isinstance(composed, ComposedPolicySettings):
                    composed.check_over(self.policy_models)
                else:
                    composed.check_over(self.reward_models)
            except ValueError as error:
                raise ValueError(f"{path}.{error}") from None
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for name, served in self.models.items():
            if served.policy not in self.policies:
                raise ValueError(f"models.{name}.policy: no policy is named {served.policy!r}")
            if served.reward is not None and served.reward not in self.rewards:
                raise ValueError(f"models.{name}.reward: no reward is named {served.reward!r}")
            if not served.scored and served.strategy.needs_reward:
                raise ValueError(
                    f"models.{name}.reward: strategy {served.strategy.type} needs a reward"
                )
            self._rewards_are_steady(name, served)
            for key, embedder in served.strategy.embeds.items():
                if embedder not in self.embedders:
                    path = f"models.{name}.strategy.{key}"
                    raise ValueError(f"{path}: no embedder is named {embedder!r}")
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

    def _rewards_are_steady(self, name: str, served: ServedModelSettings) -> None:
        """Raises ValueError for a strategy that the rewards cannot serve."""
        reward = served.reward_name(name)
        if reward is None or not served.strategy.needs_steady_rewards:
            return
        if compares(reward, {**self.reward_models, **self.composed_rewards}):
            raise ValueError(
                f"models.{name}.strategy: {served.strategy.type} needs rewards that compare across"
                f" calls, and reward {reward!r} only compares the answers of one"
            )

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
