"""The embedded default: what the gateway serves if the settings name no model.

It is the demo policy and reward model that ship with the package, in process, on the CPU.
"""

from __future__ import annotations

from typing import Any

from bon_gateway import demo_models
from bon_gateway.settings.tree import Settings

SOURCE = "embedded default"


def tree() -> dict[str, dict[str, Any]]:
    """The default's policies, rewards and models, as a settings file would have them."""
    draw = {"policy": "demo", "reward": "demo"}
    # For models this small a second thread waits longer than it computes.
    policy = {"type": "transformers", "model": str(demo_models.policy_path()), "threads": 1}
    return {
        "policies": {"demo": policy},
        "rewards": {"demo": {"type": "in_process", "model": str(demo_models.reward_path())}},
        "models": {
            "demo": {**draw, "strategy": {"type": "best_of_n", "n": 8}},
            "demo-first-k": {**draw, "strategy": {"type": "first_k", "n": 8, "spare": 2}},
            "demo-single": {"policy": "demo", "strategy": {"type": "single"}},
        },
    }


def in_use(settings: Settings) -> bool:
    """Whether these settings serve the default's models. Other sections may differ."""
    default = Settings.model_validate(tree())
    return settings.models == default.models and settings.policies == default.policies
