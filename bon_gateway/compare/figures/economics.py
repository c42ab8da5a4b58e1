"""Money, from tokens. Pure; docs/compare.md explains the model.

A request costs C = prompt x p_in + completion x p_out + scored x p_reward. A tuned policy pays back
after Q* = C_train / (C_bon - C_tuned) requests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_gateway.compare.settings import PriceSettings, TrainingSettings

MILLION = 1e6
HOUR_S = 3600.0
MONTH_DAYS = 365.25 / 12


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Money for one token."""

    prompt: float
    completion: float
    scored: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one request, of one candidate, or means of them."""

    prompt: float
    completion: float
    scored: float
    """Read by the reward model."""


def mean_tokens(tokens: Sequence[Tokens]) -> Tokens:
    return Tokens(
        fmean(one.prompt for one in tokens),
        fmean(one.completion for one in tokens),
        fmean(one.scored for one in tokens),
    )


def per_token(price: PriceSettings | None) -> tuple[float, float]:
    """Money for a token read and for one generated. A price by the hour is divided by the tokens
    that the throughput makes in an hour."""
    if price is None:
        return 0.0, 0.0
    if price.hour is None:
        read, generated = price.input_per_million or 0.0, price.output_per_million or 0.0
        return read / MILLION, generated / MILLION
    second = price.hour / HOUR_S
    read = second / price.input_tokens_per_s if price.input_tokens_per_s else 0.0
    return read, second / price.output_tokens_per_s if price.output_tokens_per_s else read


def cost(tokens: Tokens, prices: TokenPrices) -> float:
    """Of one request."""
    return (
        tokens.prompt * prices.prompt
        + tokens.completion * prices.completion
        + tokens.scored * prices.scored
    )


def best_of_n_tokens(one: Tokens, n: float) -> Tokens:
    """What best-of-n takes if a candidate takes ``one``: the prompt once, the rest n times. A
    single answer needs no reward model."""
    return Tokens(one.prompt, n * one.completion, n * one.scored if n > 1 else 0.0)


def break_even(training: float, bon: float, tuned: float) -> float:
    """Requests after which a tuned policy has paid for itself; infinite if it never does."""
    saved = bon - tuned
    return training / saved if saved > 0 else math.inf


def training_money(settings: TrainingSettings, seconds: float) -> float:
    """Of making a tuned policy once; ``seconds`` are those in the trainers' records."""
    hours = settings.hours + seconds / HOUR_S
    return (
        settings.money + hours * (settings.hour or 0.0) + settings.pairs * settings.money_per_pair
    )


def monthly(cost_per_request: float, requests_per_day: float, trainings: float = 0.0) -> float:
    """Money a month; ``trainings`` is a month's money for retraining."""
    return cost_per_request * requests_per_day * MONTH_DAYS + trainings


def sensitivity(
    training: float,
    base: Tokens,
    tuned: Tokens,
    prices: tuple[TokenPrices, TokenPrices],
    n: tuple[int, int, int],
) -> dict[str, float]:
    """Break-even requests with prices, lengths, the training cost and N changed one at a time.

    ``base`` are the tokens of one candidate; ``prices`` those of the base and of the tuned arm;
    ``n`` the matched N with the ends of its interval.
    """

    def at(
        count: float = n[0], length: float = 1.0, serving: float = 1.0, train: float = 1.0
    ) -> float:
        longer = base.scored + (length - 1) * base.completion if base.scored else 0.0
        one = Tokens(base.prompt, base.completion * length, longer)
        bon = cost(best_of_n_tokens(one, count), prices[0])
        own = cost(Tokens(tuned.prompt, tuned.completion * length, tuned.scored), prices[1])
        return break_even(training * train, bon * serving, own * serving)

    rows = {
        "as measured": at(),
        "the lowest N of its interval": at(n[1]),
        "the highest N of its interval": at(n[2]),
    }
    for factor, word in ((0.5, "half"), (2.0, "twice")):
        rows[f"{word} the price of serving"] = at(serving=factor)
        rows[f"answers of {word} the length"] = at(length=factor)
        rows[f"{word} the training cost"] = at(train=factor)
    return rows
