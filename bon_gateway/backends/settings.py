"""Settings of every policy and every reward model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from bon_gateway.backends.cache.settings import CandidateCacheSettings, RewardCacheSettings
from bon_gateway.protocols import (
    ComposedPolicy,
    ComposedReward,
    Embedder,
    PolicyBackend,
    RewardBackend,
)
from bon_gateway.sections.base import Component, Device, Section
from bon_gateway.thinking import ThinkingSettings

FindKey = Callable[[str | None], str | None]
"""The key in an environment variable, by the variable's name; None for None."""


class BackendSettings(Component):
    libraries: ClassVar[tuple[str, ...]] = ()
    """Python packages that must be installed beside the gateway."""

    @property
    def key_variable(self) -> str | None:
        """Environment variable with the key for the upstreams; None if there are none."""
        return None

    @property
    def key_variables(self) -> Mapping[str, str]:
        """All variables with keys, by the settings in this section that name them."""
        return {} if self.key_variable is None else {"api_key_env": self.key_variable}


class LocalModelSettings(BackendSettings):
    """A model that runs in the gateway's own process."""

    model: str
    """A folder, or the id of a model on the hub."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    device: Device = "auto"
    """``auto`` takes a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto`` is float32 on a CPU, otherwise what the checkpoint holds. A CPU that cannot multiply
    in bfloat16 (one with AVX2 alone) is slower in it."""
    trust_remote_code: bool = False
    """Whether code that comes with the model may run. Only for models that you trust."""
    threads: PositiveInt | None = None
    """CPU threads of torch for the whole process; None leaves it to torch. Set it to 1 for a small
    model beside an engine on the same CPU, where more threads would wait for each other."""

    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")


class PolicySettings(BackendSettings):
    """The settings of one policy, which build it."""

    revision: str | None = None
    """Which weights these are, in your words. The candidate log records it, and with
    another one ``history`` and ``cache`` begin anew. Nothing else uses it."""
    thinking: ThinkingSettings | None = None
    """How the model marks thinking inside the content."""
    cache: CandidateCacheSettings | None = None
    """Keep candidates, so that the same request gets them again without drawing. Use it only if
    prompts recur and answers may repeat. None keeps nothing."""

    serves_several: ClassVar[bool] = False
    """Whether it can ask for another model than its own, by the model's name."""

    @abstractmethod
    def build(self, key: str | None) -> PolicyBackend:
        """The policy, not started. ``key`` is what ``key_variable`` holds."""


class LengthCalibrationSettings(Section):
    """The part of a reward that is only length."""

    slope: float
    """What one more character brings, in the reward model's own unit: subtracted for each character
    of an answer's text. Fit it on recorded candidates, within prompts. Rewards that were recorded
    with a slope show what is still to be added to it. Negative if the reward model likes short
    answers."""
    reference: Annotated[int, Field(ge=0)] = 0
    """Characters of an answer whose reward stays as it is. It changes the rewards of all candidates
    alike. The mean length keeps thresholds as they are."""


class RewardSettings(BackendSettings):
    """The settings of one reward model, which build it."""

    length_calibration: LengthCalibrationSettings | None = None
    """Subtract from each reward the part that length alone explains. None leaves rewards raw."""
    cache: RewardCacheSettings | None = None
    """Keep rewards, so that the same answer to the same conversation is scored once: ``{}``
    switches it on. Use it if clients repeat requests, and beside a policy with a ``cache``. None
    keeps nothing."""

    @model_validator(mode="after")
    def _only_what_lasts_is_cached(self) -> Self:
        if self.cache is not None and self.compares:
            raise ValueError(
                "cache: these rewards compare the answers of one call, and mean nothing in another"
            )
        return self

    reads_call_ids: ClassVar[bool] = True
    """Whether a reward may depend on the ids of an answer's tool calls. Chat templates may show
    them."""
    may_have_labels: ClassVar[bool] = False
    """Whether its model may have several labels (``Scores.labels``), which an ensemble can name."""

    @property
    def reads_metadata(self) -> bool:
        """Whether a reward depends on the request's ``metadata``, such as an expected answer."""
        return False

    @property
    def compares(self) -> bool:
        """See ``RewardBackend.compares``."""
        return False

    def short_of(self, answers: int) -> str | None:
        """Why its budget for one request is too small for this many answers; None if it is not."""
        return None

    @property
    def own_files(self) -> Sequence[Path]:
        """Files that decide its rewards and that its settings do not name, such as a template of
        ours. See ``backends.reward.identity``."""
        return ()

    @abstractmethod
    def build(self, key: str | None) -> RewardBackend:
        """The reward model, not started. ``key`` is the value of ``key_variable``. The caller adds
        the length calibration."""

    def build_with(self, keys: FindKey) -> RewardBackend:
        """The same, for a section that may have several ``key_variables``."""
        return self.build(keys(self.key_variable))

    def build_reading(self, keys: FindKey, labels: Sequence[str]) -> RewardBackend:
        """The same, for ensembles that read these ``labels``. A model that lacks one does not come
        up, if its kind has labels."""
        return self.build_with(keys)


class EmbedderSettings(BackendSettings):
    """The settings of one embedder, which build it."""

    prefix: str = ""
    """Text before each answer, if the model was trained with one, such as ``query: ``."""
    max_chars: Annotated[int, Field(ge=1, le=65536)] = 2048
    """Number of characters to embed, from an answer's beginning. 2048 are about 512 tokens of
    English; many sentence models read no more."""

    def read(self, text: str) -> str:
        """The part of a text to embed."""
        return self.prefix + text[: self.max_chars]

    @abstractmethod
    def build(self, key: str | None) -> Embedder:
        """The embedder, not started. ``key`` is the value of ``key_variable``."""


class ComposedPolicySettings(Component):
    """The settings of a policy that is composed of others in ``policies``."""

    revision: str | None = None
    """As for other policies. None joins the revisions of the policies that it asks."""

    @property
    @abstractmethod
    def asks(self) -> tuple[str, ...]:
        """Names of the policies that it asks, each once."""

    @property
    @abstractmethod
    def further_models(self) -> tuple[tuple[str, str], ...]:
        """Models that it asks these policies for beside their own: policy and model, each once."""

    @abstractmethod
    def check_over(self, policies: Mapping[str, PolicySettings]) -> None:
        """Raises ValueError, with the key in this section, if it cannot be made of these."""

    @abstractmethod
    def compose(self, policies: Mapping[str, PolicyBackend]) -> ComposedPolicy:
        """The policy. ``policies`` has the others, and may have more."""


class ComposedRewardSettings(Component):
    """The settings of a reward that is made of others in ``rewards``."""

    @abstractmethod
    def check_over(self, rewards: Mapping[str, RewardSettings]) -> None:
        """Raises ValueError, with the key in this section, if it cannot be made of these."""

    def members_over(self, rewards: Mapping[str, RewardSettings]) -> Mapping[str, RewardSettings]:
        """The rewards that it joins, by name."""
        return {}

    @abstractmethod
    def compares_over(self, rewards: Mapping[str, RewardSettings]) -> bool:
        """Whether the joint reward ``compares``, see ``RewardBackend``."""

    @property
    def labels_read(self) -> Mapping[str, Sequence[str]]:
        """The labels that it reads, by the reward's name. A reward without labels to read may be
        missing."""
        return {}

    @abstractmethod
    def compose(self, rewards: Mapping[str, RewardBackend]) -> ComposedReward:
        """The reward. ``rewards`` has the others, and may have more."""


def labels_of(name: str, composed: Iterable[ComposedRewardSettings]) -> tuple[str, ...]:
    """The labels of this reward that ``composed`` ones read, each once."""
    found = [label for one in composed for label in one.labels_read.get(name, ())]
    return tuple(dict.fromkeys(found))


def compares(name: str, rewards: Mapping[str, RewardSettings | ComposedRewardSettings]) -> bool:
    """Whether this one of ``rewards`` ``compares``, see ``RewardBackend``. Members are known."""
    one = rewards[name]
    if isinstance(one, RewardSettings):
        return one.compares
    return one.compares_over({n: r for n, r in rewards.items() if isinstance(r, RewardSettings)})
