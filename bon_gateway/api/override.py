"""Lets a request's ``bon`` object change the served model's strategy, within the server's
limits."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from bon_gateway.api.schema import BonWire
from bon_gateway.errors import BadRequestError
from bon_gateway.sections.base import type_name
from bon_gateway.sections.server import LimitsSettings
from bon_gateway.settings.tree import ServedModelSettings
from bon_gateway.strategies.registry import BY_REQUEST
from bon_gateway.strategies.settings import StrategySettings

_OWN_KEYS = {"strategy", "return_candidates"}


def resolve_strategy(
    bon: BonWire | None,
    served: ServedModelSettings,
    limits: LimitsSettings,
    *,
    compares: bool = False,
) -> StrategySettings:
    """The strategy that this request runs.

    What the request does not name stays as the served model has it, even if the request chooses
    another strategy that has the same parameter. ``compares`` says whether the model's reward only
    compares answers of one call. Raises BadRequestError if the model allows no override, the
    strategy does not have the parameter, the model's rewards cannot serve the strategy, the model
    has verifiers and the strategy does not use them, or a limit refuses it.
    """
    own = served.strategy
    if bon is None:
        return own
    asked = {k: v for k, v in bon.model_dump(exclude_none=True).items() if k not in _OWN_KEYS}
    if bon.strategy is None and not asked:
        return own
    if not served.allow_override:
        raise BadRequestError.at("bon", "this model's strategy may not be changed")
    kind = type(own) if bon.strategy in (None, own.type) else BY_REQUEST[bon.strategy]
    for key in asked:
        if key not in kind.asked:
            reason = f"strategy {type_name(kind)} has no such parameter"
            raise BadRequestError.at(f"bon.{key}", reason)
    strategy = _validate(kind, _merged(kind, own, asked))
    if strategy.needs_reward and not served.scored:
        raise BadRequestError.at(
            "bon.strategy", f"{strategy.type} needs a reward model, and this model has none"
        )
    if served.verifier and not strategy.verifies:
        raise BadRequestError.at(
            "bon.strategy", f"{strategy.type} verifies nothing, and this model has verifiers"
        )
    if compares and strategy.needs_steady_rewards:
        raise BadRequestError.at(
            "bon.strategy",
            f"{strategy.type} needs rewards that compare across calls, and this model's reward"
            " only compares the answers of one",
        )
    return _within_limits(strategy, asked, limits)


def _merged(
    kind: type[StrategySettings], own: StrategySettings, asked: dict[str, Any]
) -> dict[str, Any]:
    fields, common = kind.model_fields, _common(kind, type(own))
    kept = {
        name: value
        for name, value in own.model_dump().items()
        if name in common and _may_be(fields[name], value)
    }
    if "n" in asked:
        kept = {name: value for name, value in kept.items() if name not in kind.follow_n}
    merged = {**kept, **asked, "type": type_name(kind)}
    if "min_candidates" in kept and "min_candidates" not in asked:
        # The operator chose this minimum for the operator's n.
        merged["min_candidates"] = min(kept["min_candidates"], merged.get("n", 1))
    return merged


def _common(kind: type[StrategySettings], own: type[StrategySettings]) -> set[str]:
    """The keys that mean the same in both strategies. Some keys share only the name and need a
    calibration for each strategy: ``beta`` of ``pessimistic`` says nothing about ``beta`` of
    ``mbr``."""
    base = next(base for base in kind.__mro__ if issubclass(own, base))
    shared = base.model_fields if issubclass(base, StrategySettings) else {}
    return {*shared, *kind.asked} & {*kind.model_fields}


def _may_be(field: FieldInfo, value: Any) -> bool:
    """Whether a key of both strategies may hold the value, if it holds one of certain words."""
    words = get_args(field.annotation) if get_origin(field.annotation) is Literal else (value,)
    return value in words


def _validate(kind: type[StrategySettings], values: dict[str, Any]) -> StrategySettings:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        param = f"bon.{key}" if key else "bon.min_candidates"
        reason = first["msg"].removeprefix("Value error, ")
        raise BadRequestError.at(param, reason) from None


def _within_limits(
    strategy: StrategySettings, asked: dict[str, Any], limits: LimitsSettings
) -> StrategySettings:
    if strategy.drawn <= limits.max_n:
        return strategy
    lowered = strategy.lowered(limits.max_n)
    if limits.on_excess_n == "refuse" or not lowered:
        param = "bon.n"
        beyond = [key for key in strategy.counts if key != "n" and key in asked]
        if beyond and strategy.pool < limits.max_n:
            # n alone would fit, so the other key is at fault.
            param = f"bon.{beyond[0]}"
        raise BadRequestError.at(
            param, f"{strategy.drawn} candidates are above the limit of {limits.max_n}"
        )
    values = strategy.model_dump() | lowered
    if "min_candidates" in values:
        values["min_candidates"] = min(values["min_candidates"], values["n"])
    return _validate(type(strategy), values)
