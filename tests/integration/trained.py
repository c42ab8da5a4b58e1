"""Policies and a reward model that `bon-train` has tuned and exported, in a few quick steps.

What they have learnt does not matter, only that they are no longer the models they started from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bon_gateway.demo_models import policy_path, reward_path
from trainers.base.data import write_records
from trainers.cli import main
from trainers.demo.data import WorldData, make_world
from trainers.demo.settings import WorldSettings

WORLD = WorldSettings(
    train_prompts=30, held_out_prompts=8, sft_records=1, pairs=32, held_out_pairs=20
)
STEPS: dict[str, Any] = {
    "batch_size": 16,
    "max_steps": 6,
    "epochs": 6,
    "learning_rate": 5e-3,
    "lora": {"r": 8},
}


class Trainings:
    """Each gives the exported folder, as it is served."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.world: WorldData = make_world(WORLD)
        self._pairs = folder / "pairs.jsonl"
        write_records(self._pairs, self.world.pairs)

    def dpo(self) -> Path:
        """By way of an adapter, which the export merges."""
        run = self._run("dpo", model=policy_path(), train=self._pairs, **STEPS)
        return self._export("dpo", run / "adapter")

    def ppo(self) -> Path:
        """One iteration on all weights."""
        run = self._run(
            "ppo",
            model=policy_path(),
            reward=reward_path(),
            prompts=self._pairs,
            iterations=1,
            prompts_per_iteration=16,
            update={"learning_rate": 1e-3, "minibatch_size": 16, "decay": "constant"},
            threads=1,
        )
        return self._export("ppo", run)

    def reward(self) -> Path:
        """An adapter on the policy, with a head that begins at random."""
        run = self._run("reward", model=policy_path(), train=self._pairs, **STEPS)
        return self._export("reward", run / "adapter")

    def _export(self, name: str, trained: Path) -> Path:
        return self._run("export", f"{name}-served", model=trained)

    def _run(self, command: str, name: str | None = None, **settings: Any) -> Path:
        output = self._folder / (name or command)
        config = self._folder / f"{output.name}.yaml"
        values = {**settings, "output": output}
        text = {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}
        config.write_text(yaml.safe_dump(text), "utf-8")
        assert main([command, "--config", str(config)]) == 0
        return output
