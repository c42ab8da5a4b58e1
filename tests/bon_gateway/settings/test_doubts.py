"""Settings that are probably not meant so."""

from __future__ import annotations

from typing import Any

from bon_gateway.settings.doubts import doubts
from bon_gateway.settings.tree import Settings

URLS = ["http://127.0.0.1:9"]
CRITERIA = [{"text": f"Is it good in way {place}?"} for place in range(20)]
JUDGE = {"type": "judge", "urls": URLS, "method": {"type": "pointwise", "criteria": CRITERIA}}
SHORT = (
    "models.m draws 8 candidates, and rewards.j.budget.calls (64) is enough for 3; 8 answers take"
    " 160 calls"
)


def settings(**served: Any) -> Settings:
    """A served model ``m`` with these keys."""
    model = {"policy": "p", "strategy": {"type": "best_of_n", "n": 8}, **served}
    rewards = {
        "j": JUDGE,
        "s": {"type": "reward_server", "urls": URLS},
        "both": {"type": "ensemble", "members": [{"reward": "j"}, {"reward": "s"}]},
    }
    policies = {"p": {"type": "vllm", "urls": URLS}}
    return Settings.model_validate(
        {"policies": policies, "rewards": rewards, "models": {"m": model}}
    )


def test_a_judges_budget_that_is_too_small_for_a_served_model() -> None:
    assert doubts(settings(reward="j")) == [SHORT]
    assert doubts(settings(reward="both")) == [SHORT]
    assert doubts(settings(rewards=[{"reward": "s"}, {"reward": "j"}])) == [SHORT]


def test_what_is_enough_raises_no_doubt() -> None:
    assert not doubts(settings(reward="j", strategy={"type": "best_of_n", "n": 3}))
    assert not doubts(settings(reward="s"))
    assert not doubts(settings(strategy={"type": "single"}))
