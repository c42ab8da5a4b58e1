"""docs/compare.md names every setting, and its example is valid."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from bon_gateway.compare import settings
from bon_gateway.compare.settings import CompareSettings
from bon_gateway.sections.base import Section

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "compare.md").read_text(encoding="utf-8")


def test_every_setting_is_named() -> None:
    sections = [
        kind
        for kind in vars(settings).values()
        if isinstance(kind, type) and issubclass(kind, Section) and kind is not Section
    ]
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    named = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", prose))))
    missing = {name for kind in sections for name in kind.model_fields if name not in named}
    assert missing == set()


def test_the_example_is_valid() -> None:
    example = PAGE.split("```yaml\n# compare.yaml\n")[1].split("```")[0]
    tuned = CompareSettings.model_validate(yaml.safe_load(example)).arms["dpo"]
    assert tuned.training == "dpo"
