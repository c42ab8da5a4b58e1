"""The embedded default: what the gateway serves if the settings name no model.

It is a policy and a reward model in process, on the CPU: the toy models that ship with the package,
or a real small model that is downloaded once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

from bon_gateway import demo_models
from bon_gateway.demo_models.real import facts
from bon_gateway.settings.tree import Settings

SOURCE = "embedded default"
Demo = Literal["toy", "real"]
DEMOS: tuple[Demo, ...] = get_args(Demo)
MOST_THREADS = 8
"""More of them wait longer for each other than they compute, in a model of this size."""


# The server listens before its models are loaded, so each question waits for them first.
_READY = "curl -sf --retry 30 -o /dev/null {url}/readyz; "
HINTS: dict[Demo, str] = {
    "toy": (
        f"this is the demo model; try: {_READY}"
        "curl {url}/v1/chat/completions"
        " -H 'content-type: application/json'"
        """ -d '{"model": "demo", "seed": 7,"""
        """ "messages": [{"role": "user", "content": "name three toys for a bear"}]}'"""
    ),
    "real": (
        f"this is {facts.NAME}: of four answers, the one with the highest reward is returned."
        " To see all four with their rewards:\n"
        f"{_READY}"
        "curl -s {url}/v1/chat/completions -H 'content-type: application/json'"
        """ -d '{"model": "smollm2", "seed": 7,"""
        """ "messages": [{"role": "user", "content": "What is the capital of Italy?"}],"""
        """ "bon": {"return_candidates": true}}'"""
        """ | python3 -c 'import json, sys;"""
        """ [print(round(c["reward"], 2), c["message"]["content"])"""
        """ for c in json.load(sys.stdin)["bon"]["candidates"]]'"""
    ),
}
"""What is printed at the start, with the gateway's address for ``{url}``."""


def tree(demo: Demo = "toy") -> dict[str, dict[str, Any]]:
    """The default's policies, rewards and models, as a settings file would have them."""
    return _toy() if demo == "toy" else _real()


def _toy() -> dict[str, dict[str, Any]]:
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


def _real() -> dict[str, dict[str, Any]]:
    draw = {"policy": "smollm2", "reward": "smollm2"}
    # torch takes all cores, which is too much on a large machine.
    threads = MOST_THREADS if (os.cpu_count() or 1) > MOST_THREADS else None
    policy = {
        "type": "transformers",
        "model": str(facts.FOLDER),
        "threads": threads,
        "max_tokens": 256,
        "generation": {"temperature": 0.7, "top_p": 0.95},
    }
    reward = {"type": "in_process", "model": str(facts.REWARD_FOLDER), "threads": threads}
    return {
        "policies": {"smollm2": policy},
        "rewards": {"smollm2": reward},
        "models": {
            "smollm2": {**draw, "strategy": {"type": "best_of_n", "n": 4}},
            "smollm2-first-k": {**draw, "strategy": {"type": "first_k", "n": 4, "spare": 1}},
            "smollm2-single": {"policy": "smollm2", "strategy": {"type": "single"}},
        },
    }


def changes_at_most(root: Mapping[str, Any], demo: Demo) -> bool:
    """Whether settings name nothing but parts of this default: `policies.demo.threads`. A `type`
    makes an upstream of one's own."""
    for section, named in tree(demo).items():
        given = root.get(section) or {}
        if not isinstance(given, dict) or not given.keys() <= named.keys():
            return False
        if not all(isinstance(one, dict) and "type" not in one for one in given.values()):
            return False
    return True


def in_use(settings: Settings) -> Demo | None:
    """Whose models these settings serve, if any default's. All else may differ."""
    for demo in DEMOS:
        default = Settings.model_validate(tree(demo))
        same_names = settings.models.keys() == default.models.keys()
        if same_names and _served(settings) == _served(default):
            return demo
    return None


def _served(settings: Settings) -> dict[str, dict[str, Any]]:
    """Which model each policy serves."""
    policies = settings.policies.items()
    return {name: one.model_dump(include={"type", "model"}) for name, one in policies}
