"""The strategies that ship. To add one, write its file and name its settings in ``KINDS``.

All that lists strategies is derived from this tuple: the settings tree, a request's ``bon`` object,
metrics, ``bon-gateway compare``, docs/settings.md, and the schema and checks of the Helm chart.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo

from bon_gateway.sections.base import type_name
from bon_gateway.strategies.adaptive import AdaptiveStrategySettings
from bon_gateway.strategies.best_of_n import BestOfNSettings
from bon_gateway.strategies.borda import BordaSettings
from bon_gateway.strategies.cascade import CascadeSettings
from bon_gateway.strategies.confidence import ConfidenceSettings
from bon_gateway.strategies.first_k import FirstKSettings
from bon_gateway.strategies.good_enough import GoodEnoughSettings
from bon_gateway.strategies.hook import HookStrategySettings
from bon_gateway.strategies.majority import MajoritySettings
from bon_gateway.strategies.majority_of_the_bests import MajorityOfTheBestsSettings
from bon_gateway.strategies.mbr import MbrSettings
from bon_gateway.strategies.pessimistic import PessimisticSettings
from bon_gateway.strategies.poisson import PoissonSettings
from bon_gateway.strategies.pruning import PruningSettings
from bon_gateway.strategies.settings import StrategySettings
from bon_gateway.strategies.single import SingleSettings
from bon_gateway.strategies.soft import SoftSettings
from bon_gateway.strategies.weighted_vote import WeightedVoteSettings

KINDS: tuple[type[StrategySettings], ...] = (
    BestOfNSettings,
    FirstKSettings,
    AdaptiveStrategySettings,
    PruningSettings,
    GoodEnoughSettings,
    CascadeSettings,
    SoftSettings,
    PessimisticSettings,
    MbrSettings,
    PoissonSettings,
    MajoritySettings,
    WeightedVoteSettings,
    MajorityOfTheBestsSettings,
    ConfidenceSettings,
    BordaSettings,
    SingleSettings,
    HookStrategySettings,
)
BY_REQUEST = {type_name(kind): kind for kind in KINDS if kind.by_request}
"""The strategies that a request may choose, by name."""


def request_fields() -> dict[str, Any]:
    """The fields of a request's ``bon`` object that choose or change a strategy, for pydantic."""
    fields: dict[str, Any] = {"strategy": (Literal[tuple(BY_REQUEST)] | None, None)}
    for kind in BY_REQUEST.values():
        for key in kind.asked:
            fields.setdefault(key, _optional(kind.model_fields[key]))
    return fields


def _optional(field: FieldInfo) -> tuple[Any, Any]:
    """The same field, but optional."""
    kind: Any = field.annotation
    if field.metadata:
        kind = Annotated[(kind, *field.metadata)]
    return kind | None, Field(default=None, description=field.description)
