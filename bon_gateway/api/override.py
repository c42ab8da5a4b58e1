"""A request's ``bon`` object against the served model's own strategy and the server's limits."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from bon_gateway.api.schema import BonWire
from bon_gateway.errors import BadRequestError
from bon_gateway.settings.tree import (
    BestOfNSettings,
    FirstKSettings,
    LimitsSettings,
    Section,
    ServedModelSettings,
    SingleSettings,
    StrategySettings,
)

_STRATEGY: TypeAdapter[StrategySettings] = TypeAdapter(StrategySettings)
_BY_TYPE: dict[str, type[Section]] = {
    "best_of_n": BestOfNSettings,
    "first_k": FirstKSettings,
    "single": SingleSettings,
}
_OWN_KEYS = {"strategy", "return_candidates"}


def resolve_strategy(
    bon: BonWire | None, served: ServedModelSettings, limits: LimitsSettings
) -> StrategySettings:
    """The strategy that this request runs.

    What the request does not name stays as the served model has it, also where it names another
    strategy that has the same parameter. Raises BadRequestError if
    the model allows no override, the strategy does not have the parameter, or a limit refuses it.
    """
    own = served.strategy
    if bon is None:
        return own
    asked = {k: v for k, v in bon.model_dump(exclude_none=True).items() if k not in _OWN_KEYS}
    if bon.strategy is None and not asked:
        return own
    if not served.allow_override:
        raise BadRequestError("bon: this model's strategy may not be changed", param="bon")
    strategy = _validate(_merged(bon, own, asked))
    if strategy.needs_reward and served.reward is None:
        raise BadRequestError(
            f"bon.strategy: {strategy.type} needs a reward model, and this model has none",
            param="bon.strategy",
        )
    return _within_limits(strategy, bon, limits)


def _merged(bon: BonWire, own: StrategySettings, asked: dict[str, Any]) -> dict[str, Any]:
    kind = bon.strategy or own.type
    fields = _BY_TYPE[kind].model_fields
    kept = {name: value for name, value in own.model_dump().items() if name in fields}
    merged = {**kept, **asked, "type": kind}
    if "min_candidates" not in asked:
        # The operator's floor was set for the operator's n; a single pass has none.
        merged["min_candidates"] = min(kept["min_candidates"], merged.get("n", 1))
    return merged


def _validate(values: dict[str, Any]) -> StrategySettings:
    try:
        return _STRATEGY.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        # The first part of the location is the union's tag.
        key = ".".join(str(part) for part in first["loc"][1:])
        if first["type"] == "extra_forbidden":
            raise BadRequestError(
                f"bon.{key}: strategy {values['type']} has no such parameter", param=f"bon.{key}"
            ) from None
        param = f"bon.{key}" if key else "bon.min_candidates"
        reason = first["msg"].removeprefix("Value error, ")
        raise BadRequestError(f"{param}: {reason}", param=param) from None


def _within_limits(
    strategy: StrategySettings, bon: BonWire, limits: LimitsSettings
) -> StrategySettings:
    excess = strategy.drawn - limits.max_n
    if excess <= 0:
        return strategy
    n = strategy.n - excess
    if limits.on_excess_n == "refuse" or n < 1:
        param = "bon.n"
        if bon.spare is not None and strategy.n < limits.max_n:
            # n alone would fit.
            param = "bon.spare"
        raise BadRequestError(
            f"{param}: {strategy.drawn} candidates are above the limit of {limits.max_n}",
            param=param,
        )
    values = strategy.model_dump()
    return _validate(values | {"n": n, "min_candidates": min(values["min_candidates"], n)})
