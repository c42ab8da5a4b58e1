"""What was asked, how, and at which prices: without them no figure means anything. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yarl import URL

from bon_gateway.compare.settings import (
    JUDGE,
    SELECTION,
    ArmSettings,
    CompareSettings,
    PriceSettings,
    ScorerSettings,
)

EMBEDDED = "the embedded gateway"


def setup(settings: CompareSettings) -> dict[str, str]:
    """By heading, in the order of the page."""
    load = settings.load
    loop = f"closed, {load.concurrency} requests in flight"
    if load.mode == "open":
        loop = f"open, {', '.join(f'{rate:g}' for rate in load.rates)} requests a second"
    facts = {
        "endpoints": "; ".join(_endpoints(settings)),
        "prompts": f"{settings.prompts.file.name}",
        "sampling": _pairs(settings.sampling) or "the endpoint's own",
        "load": f"{loop}, {load.repeats} x each prompt, {load.warm_up} warm-up requests an arm"
        + (", streamed" if load.stream else ""),
        "seeds": f"{settings.seed}; the same request has the same seed in every arm",
        "scorers": "; ".join(_scorers(settings)),
        "prices": _prices(settings),
    }
    own = [f"{name}: {_pairs(arm.sampling)}" for name, arm in settings.arms.items() if arm.sampling]
    if own:
        facts["sampling"] += "; " + "; ".join(own)
    return facts


def address(url: str | None) -> str:
    """Without a password that may stand in it."""
    return EMBEDDED if url is None else str(URL(url).with_user(None))


def _endpoints(settings: CompareSettings) -> list[str]:
    places: dict[tuple[str, str], list[str]] = {}
    for name, arm in settings.arms.items():
        places.setdefault((arm.model, address(arm.url)), []).append(_arm(name, arm))
    return [f"{model} at {url} ({', '.join(arms)})" for (model, url), arms in places.items()]


def _arm(name: str, arm: ArmSettings) -> str:
    asked = {} if arm.bon is None else arm.bon.model_dump(exclude_none=True)
    return f"{name} with {_pairs(asked)}" if asked else name


def _scorers(settings: CompareSettings) -> list[str]:
    told = [f"{SELECTION}: the gateway's own reward"]
    told += [f"{name}: {_scorer(one)}" for name, one in settings.quality.scorers.items()]
    judge = settings.quality.judge
    if judge is not None:
        told.append(f"{JUDGE}: a reward of type {judge.type}")
    return [f"{one} (decides)" if one.split(":")[0] == settings.quality.primary else one
            for one in told]  # fmt: skip


def _scorer(settings: ScorerSettings) -> str:
    if settings.hook is not None:
        return f"the function {settings.hook.function}"
    if settings.reward is not None:
        return f"a reward of type {settings.reward.type}"
    model = "" if settings.model is None else f"{settings.model} at "
    return f"{model}{address(settings.url)}"


def _prices(settings: CompareSettings) -> str:
    prices = settings.prices
    told = [
        f"{name} {_price(price, prices.currency)}"
        for name, price in (("policy", prices.policy), ("reward model", prices.reward))
        if price is not None
    ]
    for name, arm in settings.arms.items():
        for what, price in (("policy", arm.policy_price), ("reward model", arm.reward_price)):
            if price is not None:
                told.append(f"{name}: {what} {_price(price, prices.currency)}")
    return "; ".join(told) or "none"


def _price(price: PriceSettings, currency: str) -> str:
    if price.hour is not None:
        speed = f"{price.input_tokens_per_s:g} tokens a second read"
        if price.output_tokens_per_s is not None:
            speed += f", {price.output_tokens_per_s:g} generated"
        return f"{price.hour:g} {currency} an hour at {speed}"
    parts = [
        f"{money:g} {currency} a million {what}"
        for money, what in (
            (price.input_per_million, "read"),
            (price.output_per_million, "generated"),
        )
        if money is not None
    ]
    return ", ".join(parts)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
