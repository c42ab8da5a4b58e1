"""docs/operations.md: its example of hedges can be served."""

from __future__ import annotations

from pathlib import Path

import yaml

from bon_gateway.factory import build_gateway
from bon_gateway.metrics import Metrics
from bon_gateway.settings.tree import Settings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_example_of_hedges_can_be_served() -> None:
    section = PAGE.split("\n## Where a reward model can be fooled\n")[1].split("\n## ")[0]
    example = yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])
    policies = {"qwen": {"type": "vllm", "urls": ["http://127.0.0.1:9"]}}
    gateway = build_gateway(
        Settings.model_validate({"policies": policies, **example}), Metrics(), {}
    )
    assert gateway.models["assistant"].reward is gateway.composed_rewards["both"]
    assert gateway.models["assistant"].strategy.name == "mbr"
