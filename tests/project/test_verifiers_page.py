"""The settings in docs/verifiers.md can be served, and the page names every kind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_gateway.sections.base import type_name
from bon_gateway.settings.tree import Settings
from bon_gateway.verifiers.kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "docs" / "verifiers.md", ROOT / "examples" / "code_runner" / "README.md")
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
]
SERVED = {"policy": "qwen", "strategy": {"type": "majority"}}


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_are_settings(block: str) -> None:
    shown: dict[str, Any] = yaml.safe_load(block)
    if "verifier" in shown:
        shown = {"models": {"m": {**SERVED, **shown}}}
    assert shown.keys() <= {"models", "rewards"}, "nothing else is read below"
    skywork = {"skywork": {"type": "reward_server", "urls": ["http://x"]}}
    Settings.model_validate(
        {
            "policies": {"qwen": {"type": "vllm", "urls": ["http://x"]}},
            "rewards": {**skywork, **shown.get("rewards", {})},
            "models": shown.get("models", {"m": SERVED}),
        }
    )


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_named(kind: Any) -> None:
    assert f"`{type_name(kind)}`" in PAGES[0].read_text(encoding="utf-8")
