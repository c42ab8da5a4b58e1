"""The facts of a run that stand on its page."""

from __future__ import annotations

from pathlib import Path

from bon_gateway.compare.figures.setup import address, setup
from tests.bon_gateway.compare.support import BY_GOLD, settings_of


def test_everything_that_a_reader_must_know(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        {
            "base": {"url": "http://one:8080", "model": "m", "bon": {"n": 4}},
            "greedy": {"url": "http://one:8080", "model": "m", "sampling": {"temperature": 0}},
            "tuned": {"model": "t", "policy_price": {"input_per_million": 3}},
        },
        sampling={"temperature": 0.7, "top_p": 0.9},
        load={"mode": "open", "rates": [1, 2.5], "repeats": 3, "stream": True},
        quality=BY_GOLD | {"judge": {"type": "judge", "urls": ["http://judge:1"]}},
        prices={"policy": {"hour": 2, "input_tokens_per_s": 1000, "output_tokens_per_s": 100}},
        seed=7,
    )
    assert setup(settings) == {
        "endpoints": "m at http://one:8080 (base with n 4, greedy);"
        " t at the embedded gateway (tuned)",
        "prompts": "prompts.jsonl",
        "sampling": "temperature 0.7, top_p 0.9; greedy: temperature 0",
        "load": "open, 1, 2.5 requests a second, 3 x each prompt, 2 warm-up requests an arm,"
        " streamed",
        "seeds": "7; the same request has the same seed in every arm",
        "scorers": "selection: the gateway's own reward; gold: the function"
        " tests.bon_gateway.compare.endpoints:gold (decides); judge: a reward of type judge",
        "prices": "policy 2 USD an hour at 1000 tokens a second read, 100 generated;"
        " tuned: policy 3 USD a million read",
    }


def test_no_password_stands_on_the_page() -> None:
    assert address("https://me:secret@host:1/v1") == "https://host:1/v1"
