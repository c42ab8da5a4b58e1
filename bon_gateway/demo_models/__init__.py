"""The demo policy and reward model, shipped so that the gateway runs with no model of your own.

Both are Hugging Face checkpoint folders of 0.8 million parameters that speak a small language
about teddy bears; `docs/demo-world.md` describes it. This module only says where they are. `real`
makes the folders of a real one.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def policy_path() -> Path:
    """The folder of the causal language model that answers."""
    return _HERE / "policy"


def reward_path() -> Path:
    """The folder of the sequence classifier that scores; its one output is the raw reward."""
    return _HERE / "reward"


def real_adapter_path() -> Path:
    """The folder of the LoRA adapter that makes the real model a reward model."""
    return _HERE / "real" / "reward_adapter"
