"""Settings of rewards that are joined to one, and of how to join them.

An ensemble in ``rewards`` and the ``rewards`` of a served model share them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from bon_common.ensemble import Combine, combine
from bon_common.selection.lexicographic import lexicographic, most_ranked
from bon_common.selection.spread import RewardSpread
from bon_common.settings.weights import Weight
from bon_gateway.backends.settings import RewardSettings
from bon_gateway.sections.base import Section

Joining = Combine | Literal["lexicographic"]
OnMissing = Literal["leave_out", "fail"]
Penalty = Annotated[float, Field(ge=0, le=1e6)]
Tolerance = Annotated[float, Field(ge=0.001, le=8)]
UNWEIGHTED: tuple[Joining, ...] = ("min", "lexicographic")


class RewardMemberSettings(Section):
    """One of the rewards that are joined."""

    reward: str
    """A name in ``rewards``. That reward cannot be an ensemble itself."""
    label: Annotated[str, Field(min_length=1)] | None = None
    """One dimension of a reward model with several labels, by the label's name in the model. One
    call to a reward covers all its labels. ``reward_server`` and ``in_process`` report labels; a
    model that lacks this one does not come up, and ``bon-gateway check`` says so.
    ``length_calibration`` does not change labels. None takes the model's own joint reward."""
    weight: Weight = 1.0
    """How much it counts beside the others, with ``mean``, ``mean_minus_sd`` and
    ``mean_minus_variance``. Only ratios matter."""
    mean: float | None = None
    """Mean of its rewards over many requests, subtracted from each. None learns ``mean`` and
    ``std`` from this worker's newest 4096 rewards. ``bon-gateway calibrate`` measures both on
    recorded candidates; ``rm_meta.json`` of a reward model from bon-train states both."""
    std: PositiveFloat | None = None
    """Their standard deviation. It divides the difference from ``mean``."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.mean is None) is not (self.std is None):
            raise ValueError("mean and std belong together: set both, or neither to learn them")
        return self

    @property
    def name(self) -> str:
        """Its name in answers, logs and metrics."""
        return self.reward if self.label is None else f"{self.reward}.{self.label}"

    @property
    def spread(self) -> RewardSpread | None:
        """The scale from the settings; None to learn it."""
        if self.mean is None or self.std is None:
            return None
        return RewardSpread(self.mean, self.std)


@dataclass(frozen=True, slots=True)
class HowJoined:
    """How the standardised rewards of one answer become one."""

    combine: Joining = "mean"
    penalty: float = 1.0
    tolerance: float = 0.25

    def check(self, members: Sequence[RewardMemberSettings], key: str) -> None:
        """Raises ValueError if the members, listed under ``key``, cannot be joined like this."""
        for name, times in Counter(member.name for member in members).items():
            if times > 1:
                raise ValueError(f"{key}: {name!r} is there twice; give it a weight instead")
        if self.combine in UNWEIGHTED and any(member.weight != 1 for member in members):
            raise ValueError(f"{key}: a weight has no meaning with combine: {self.combine}")
        if self.combine == "lexicographic" and len(members) > most_ranked(self.tolerance):
            raise ValueError(
                f"tolerance: with {self.tolerance:g} the order of {most_ranked(self.tolerance)}"
                f" rewards can be told, and {key} has {len(members)}; raise it"
            )

    def rule(self, weights: Sequence[float]) -> Callable[[Sequence[float]], float]:
        """The joint reward, from standardised rewards in the order of the members' ``weights``."""
        if self.combine == "lexicographic":
            return partial(lexicographic, tolerance=self.tolerance)
        return partial(combine, how=self.combine, penalty=self.penalty, weights=weights)


def check_over(
    members: Sequence[RewardMemberSettings], rewards: Mapping[str, RewardSettings], key: str
) -> None:
    """Raises ValueError, with its place below ``key``, for an unknown member, and for a label that
    cannot exist."""
    for place, member in enumerate(members):
        if member.reward not in rewards:
            raise ValueError(
                f"{key}.{place}.reward: no reward with a model of its own is named"
                f" {member.reward!r}"
            )
        kind = rewards[member.reward]
        if member.label is not None and not kind.may_have_labels:
            raise ValueError(
                f"{key}.{place}.label: a reward of type {kind.type} has no labels; leave it out"
            )
