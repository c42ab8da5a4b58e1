"""Money, from tokens. Pure; the model is written down in docs/compare.md.

Per request: C = prompt x p_in + completion x p_out + scored x p_reward, where best-of-N generates
N L tokens and has N (P + L) read, or what was measured. A tuned policy pays back after
Q* = C_train / (C_bon - C_tuned) requests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bon_gateway.compare.settings import PriceSettings, TrainingSettings
from bon_gateway.compare.statistics import Interval, Resamples

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
    """Of one request, or means over requests."""

    prompt: float
    completion: float
    """Of all candidates."""
    scored: float
    """Read by the reward model."""


def per_token(price: PriceSettings | None) -> tuple[float, float]:
    """Money for a token read and for one generated. An hour's price buys as many tokens as the
    throughput makes in it."""
    if price is None:
        return 0.0, 0.0
    if price.hour is None:
        return (price.input_per_million or 0.0) / MILLION, (
            price.output_per_million or 0.0
        ) / MILLION
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


def best_of_n_tokens(prompt: float, length: float, scored: float, n: float) -> Tokens:
    """What best-of-n takes: the prompt once, n answers of ``length`` tokens, and ``scored``
    tokens read for each. A single answer needs no reward model."""
    return Tokens(prompt, n * length, n * scored if n > 1 else 0.0)


def break_even(training: float, bon: float, tuned: float) -> float:
    """Requests after which a tuned policy has paid for itself; infinite if it never does."""
    saved = bon - tuned
    return training / saved if saved > 0 else math.inf


def break_even_interval(
    training: float, bon: Sequence[float], tuned: Sequence[float], resamples: Resamples
) -> Interval:
    """From the costs per request of each prompt, paired."""
    value = break_even(training, sum(bon) / len(bon), sum(tuned) / len(tuned))
    replicates = resamples.of_means(lambda m: break_even(training, m[0], m[1]), (bon, tuned))
    return resamples.interval(value, replicates)


def training_money(settings: TrainingSettings, seconds: float) -> float:
    """Of making a tuned policy once; ``seconds`` are those that the trainers' records have."""
    hours = settings.hours + seconds / HOUR_S
    return (
        settings.money + hours * (settings.hour or 0.0) + settings.pairs * settings.money_per_pair
    )


def monthly(cost_per_request: float, requests_per_day: float, trainings: float = 0.0) -> float:
    """Money a month; ``trainings`` is what is trained anew each month."""
    return cost_per_request * requests_per_day * MONTH_DAYS + trainings


@dataclass(frozen=True, slots=True)
class Sensitive:
    """The break-even if one thing were otherwise."""

    what: str
    requests: float


def sensitivity(
    training: float,
    base: tuple[float, float, float],
    tuned: Tokens,
    prices: tuple[TokenPrices, TokenPrices],
    n: tuple[int, int, int],
) -> list[Sensitive]:
    """Break-even requests with prices, lengths, the training cost and N changed one at a time.

    ``base`` is prompt, answer and scored tokens of one candidate; ``prices`` those of the base
    and of the tuned arm; ``n`` the matched N with the ends of its interval.
    """

    def at(
        count: float = n[0], length: float = 1.0, serving: float = 1.0, train: float = 1.0
    ) -> float:
        prompt, answer, scored = base
        longer = scored + (length - 1) * answer if scored else 0.0
        bon = cost(best_of_n_tokens(prompt, answer * length, longer, count), prices[0])
        own = cost(Tokens(tuned.prompt, tuned.completion * length, tuned.scored), prices[1])
        return break_even(training * train, bon * serving, own * serving)

    rows = [
        Sensitive("as measured", at()),
        Sensitive("the lowest N of its interval", at(n[1])),
        Sensitive("the highest N of its interval", at(n[2])),
    ]
    for factor, word in ((0.5, "half"), (2.0, "twice")):
        rows += [
            Sensitive(f"{word} the price of serving", at(serving=factor)),
            Sensitive(f"answers of {word} the length", at(length=factor)),
            Sensitive(f"{word} the training cost", at(train=factor)),
        ]
    return rows
