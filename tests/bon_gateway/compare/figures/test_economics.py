from __future__ import annotations

import math

import pytest

from bon_gateway.compare.figures.economics import (
    MONTH_DAYS,
    TokenPrices,
    Tokens,
    best_of_n_tokens,
    break_even,
    cost,
    monthly,
    per_token,
    sensitivity,
    training_money,
)
from bon_gateway.compare.settings import PriceSettings, TrainingSettings

EXACT = 1e-9


def test_prices_per_million() -> None:
    price = PriceSettings(input_per_million=0.5, output_per_million=2.0)
    assert per_token(price) == pytest.approx((5e-7, 2e-6), abs=1e-15)
    assert per_token(None) == (0.0, 0.0)


def test_prices_by_the_hour() -> None:
    """3.60 an hour is .001 a second; 2000 tokens a second make 5e-7 a token."""
    price = PriceSettings(hour=3.6, input_tokens_per_s=10_000, output_tokens_per_s=2000)
    assert per_token(price) == pytest.approx((1e-7, 5e-7), abs=1e-15)


def test_the_cost_of_a_request() -> None:
    prices = TokenPrices(1e-6, 4e-6, 0.5e-6)
    tokens = best_of_n_tokens(Tokens(100, 50, 150), 8)
    assert tokens == Tokens(100, 400, 1200)
    assert best_of_n_tokens(Tokens(100, 50, 150), 1) == Tokens(100, 50, 0)
    assert cost(tokens, prices) == pytest.approx(100e-6 + 1600e-6 + 600e-6, abs=1e-12)


def test_the_break_even() -> None:
    assert break_even(300.0, 0.005, 0.002) == pytest.approx(100_000, rel=EXACT)
    assert break_even(300.0, 0.002, 0.002) == math.inf
    assert break_even(300.0, 0.001, 0.002) == math.inf


def test_training_adds_up() -> None:
    settings = TrainingSettings(money=10, hours=2, hour=3, pairs=1000, money_per_pair=0.02)
    assert training_money(settings, 3600.0) == pytest.approx(10 + 3 * 3 + 20, abs=EXACT)


def test_a_month() -> None:
    assert monthly(0.001, 20_000, 50.0) == pytest.approx(20 * MONTH_DAYS + 50, abs=EXACT)


def test_sensitivity_changes_one_thing_at_a_time() -> None:
    prices = TokenPrices(0.0, 1.0, 0.1)
    rows = sensitivity(600.0, Tokens(10, 5, 15), Tokens(10, 5, 0), (prices, prices), (4, 2, 8))

    def saved(n: int, length: float = 5.0, scored: float = 15.0) -> float:
        return n * length + 0.1 * n * scored - length

    assert rows["as measured"] == pytest.approx(600 / saved(4), abs=EXACT)
    assert rows["the lowest N of its interval"] == pytest.approx(600 / saved(2), abs=EXACT)
    assert rows["the highest N of its interval"] == pytest.approx(600 / saved(8), abs=EXACT)
    assert rows["half the price of serving"] == pytest.approx(1200 / saved(4), abs=EXACT)
    assert rows["twice the training cost"] == pytest.approx(1200 / saved(4), abs=EXACT)
    # The prompt is read by the reward model as before; only the answer is longer.
    assert rows["answers of twice the length"] == pytest.approx(600 / saved(4, 10, 20), abs=EXACT)
