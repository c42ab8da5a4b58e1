"""Settings of a short run of each command, on one-layer models and the files of `world`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bon_gateway import demo_models
from tests.trainers.small import policy_path, reward_path

Values = dict[str, Any]

GENERATED = {"max_new_tokens": 8}


def _training(data: Path, name: str) -> Values:
    return {
        "model": str(policy_path()),
        "train": str(data / name),
        "batch_size": 4,
        "max_steps": 10,
        "learning_rate": 1e-3,
        "log_every": 1,
    }


def _rewarded() -> Values:
    return {"model": str(policy_path()), "reward": str(reward_path())}


SHORT: dict[str, Callable[[Path], Values]] = {
    "sft": lambda data: _training(data, "sft.jsonl"),
    "reward": lambda data: _training(data, "pairs.jsonl"),
    "dpo": lambda data: _training(data, "pairs.jsonl"),
    "grpo": lambda data: _training(data, "prompts.jsonl") | _rewarded() | GENERATED
    | {"batch_size": 8, "group_size": 4},
    "ppo": lambda data: _rewarded() | {
        "prompts": str(data / "prompts.jsonl"),
        "iterations": 10,
        "prompts_per_iteration": 8,
        "sampling": GENERATED,
        "update": {"minibatch_size": 4, "micro_batch_size": 4, "epochs": 1, "learning_rate": 1e-3},
        "device": "cpu",
    },
    # A policy of one layer ends too few answers to make pairs of.
    "iterate": lambda data: _rewarded() | {
        "model": str(demo_models.policy_path()),
        "prompts": str(data / "prompts.jsonl"),
        "rounds": 1,
        "samples": 3,
        "max_new_tokens": 32,
        "dpo": {"batch_size": 2, "max_steps": 10, "learning_rate": 1e-3, "log_every": 1},
    },
    "prepare": lambda data: {"input": str(data / "pairs.jsonl"), "held_out_share": 0.3},
    "collect": lambda data: {
        "prompts": str(data / "prompts.jsonl"),
        "policy": str(policy_path()),
        "max_tokens": 8,
    },
    "label": lambda data: {
        "input": str(data / "pairs.jsonl"),
        "labeller": {"type": "reward_model", "model": str(reward_path())},
    },
    "evaluate": lambda data: {
        "reward": str(reward_path()),
        "pairs": str(data / "margins.jsonl"),
    },
    "export": lambda data: {"model": str(policy_path())},
    "tasks": lambda data: {"only": ["capitals"]},
}  # fmt: skip
"""By command; `output` is not among them."""
TRAINING = ("sft", "reward", "dpo", "grpo", "ppo", "iterate")
FILES = {"collect": "out.jsonl", "label": "out.jsonl", "evaluate": "out.json"}
"""The output of the commands that write a file; the others write a folder."""


def output_of(command: str) -> str:
    return FILES.get(command, "out")
