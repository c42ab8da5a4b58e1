"""What a request may change about the served model's strategy."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bon_gateway.api.override import resolve_strategy
from bon_gateway.api.schema import BonWire
from bon_gateway.errors import BadRequestError
from bon_gateway.sections.server import LimitsSettings
from bon_gateway.settings.tree import ServedModelSettings
from bon_gateway.strategies.settings import StrategySettings

BEST = {"type": "best_of_n", "n": 8, "min_candidates": 4, "fallback": "error", "deadline_ms": 900}


def resolve(bon: dict[str, Any] | None, own: dict[str, Any], **limits: Any) -> StrategySettings:
    served = ServedModelSettings.model_validate({"policy": "p", "reward": "r", "strategy": own})
    wire = None if bon is None else BonWire.model_validate(bon)
    return resolve_strategy(wire, served, LimitsSettings(**limits))


def dump(strategy: StrategySettings) -> dict[str, Any]:
    return {k: v for k, v in strategy.model_dump().items() if k in BEST}


def test_without_bon_or_with_an_empty_one_the_models_own_runs() -> None:
    assert dump(resolve(None, BEST)) == BEST
    assert dump(resolve({}, BEST)) == BEST
    assert dump(resolve({"return_candidates": True}, BEST)) == BEST


def test_what_is_not_named_stays() -> None:
    assert dump(resolve({"n": 16}, BEST)) == {**BEST, "n": 16}


def test_the_operators_floor_gives_way_to_a_smaller_n() -> None:
    assert dump(resolve({"n": 2}, BEST))["min_candidates"] == 2


def test_another_strategy_keeps_what_it_has_in_common() -> None:
    first_k = resolve({"strategy": "first_k", "spare": 3}, BEST)
    assert (first_k.type, first_k.drawn) == ("first_k", 11)
    assert dump(first_k) == {**BEST, "type": "first_k"}
    single = resolve({"strategy": "single"}, BEST)
    assert dump(single)["deadline_ms"] == 900


def test_the_limit_counts_the_spare_ones() -> None:
    assert resolve({"strategy": "first_k", "n": 62}, BEST).drawn == 64
    with pytest.raises(BadRequestError) as caught:
        resolve({"strategy": "first_k", "n": 63}, BEST)
    assert caught.value.param == "bon.n"


def test_clamping() -> None:
    clamped = resolve({"n": 100, "min_candidates": 50}, BEST, max_n=10, on_excess_n="clamp")
    assert dump(clamped) == {**BEST, "n": 10, "min_candidates": 10}


def test_a_hook_keeps_its_function_and_is_not_for_requests_to_choose() -> None:
    own = {"type": "hook", "function": "builtins:max", "n": 4}
    changed = resolve({"n": 2, "strategy": None}, own).model_dump()
    assert (changed["type"], changed["function"], changed["n"]) == ("hook", "builtins:max", 2)
    with pytest.raises(BadRequestError) as caught:
        resolve({"spare": 2}, own)
    assert caught.value.param == "bon.spare"
    for refused in ({"strategy": "hook"}, {"function": "builtins:min"}):
        with pytest.raises(ValidationError):
            BonWire.model_validate(refused)


@pytest.mark.parametrize(
    ("own", "key"), [({"type": "soft"}, "reward_temperature"), ({"type": "pessimistic"}, "beta")]
)
def test_a_calibrated_key_stays_and_is_not_for_requests(own: dict[str, Any], key: str) -> None:
    changed = resolve({"n": 2}, {**own, key: 0.25}).model_dump()
    assert (changed["n"], changed[key]) == (2, 0.25)
    assert resolve({"strategy": own["type"]}, BEST).model_dump()[key] == 1.0
    with pytest.raises(ValidationError):
        BonWire.model_validate({key: 0.5})


@pytest.mark.parametrize(
    ("own", "chosen", "key", "expected"),
    [
        ({"type": "pessimistic", "beta": 0.09}, "mbr", "beta", 1.0),
        ({"type": "mbr", "beta": 0.5}, "pessimistic", "beta", 1.0),
        ({"type": "soft", "reward_temperature": 9.0}, "weighted_vote", "reward_temperature", 1.0),
        ({"type": "adaptive", "wave": 4}, "pruning", "wave", None),
        ({"type": "adaptive", "n": 8, "cap": 9}, "pruning", "cap", None),
        ({"type": "good_enough", "threshold": 1, "wave": 8}, "adaptive", "wave", 4),
        ({"type": "majority", "extract": {"type": "exact"}}, "weighted_vote", "extract", "exact"),
        ({"type": "pessimistic", "beta": 0.09, "retries": 3}, "mbr", "retries", 3),
    ],
)
def test_a_key_that_means_something_else_in_another_strategy_is_not_carried_over(
    own: dict[str, Any], chosen: str, key: str, expected: object
) -> None:
    found = resolve({"strategy": chosen}, own).model_dump()[key]
    assert (found["type"] if isinstance(found, dict) else found) == expected


ADAPTIVE = {"type": "adaptive", "n": 16, "cap": 24, "wave": 3}


def adaptive(bon: dict[str, Any], own: dict[str, Any], **limits: Any) -> tuple[Any, ...]:
    changed = resolve(bon, own, **limits)
    dumped = changed.model_dump()
    return dumped["n"], dumped["cap"], dumped["wave"], changed.drawn


def test_a_cap_stays_with_the_n_that_it_was_chosen_for() -> None:
    assert adaptive({"deadline_ms": 50}, ADAPTIVE) == (16, 24, 3, 24)
    assert adaptive({"n": 8}, ADAPTIVE) == (8, None, 3, 16)
    assert adaptive({"n": 32}, ADAPTIVE) == (32, None, 3, 64)
    assert adaptive({"strategy": "adaptive"}, BEST) == (8, None, 4, 16)


def test_the_limit_counts_what_may_be_drawn() -> None:
    with pytest.raises(BadRequestError, match="66 candidates are above the limit of 64") as caught:
        resolve({"n": 33}, ADAPTIVE)
    assert caught.value.param == "bon.n"
    assert adaptive({"n": 33}, ADAPTIVE, on_excess_n="clamp") == (33, 64, 3, 64)
    assert adaptive({"n": 90}, ADAPTIVE, on_excess_n="clamp") == (63, 64, 3, 64)
    with pytest.raises(BadRequestError, match="above the limit of 1"):
        resolve({"n": 2}, ADAPTIVE, max_n=1, on_excess_n="clamp")


def test_a_threshold_and_a_price_are_not_for_requests() -> None:
    for key in ("threshold", "price_per_token", "stop_at", "wave", "cap", "first", "first_n"):
        with pytest.raises(ValidationError):
            BonWire.model_validate({key: 0.9})
    for name in ("good_enough", "cascade"):
        with pytest.raises(ValidationError):
            BonWire.model_validate({"strategy": name})
