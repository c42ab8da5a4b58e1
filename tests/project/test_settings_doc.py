"""The docs say what the settings are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from trainers.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("doc", ROOT / "scripts" / "settings_doc.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, text in module.pages().items():
        assert path.read_text(encoding="utf-8") == text, "run make docs"


def test_the_training_page_has_every_command_and_its_settings() -> None:
    text = (ROOT / "docs" / "training-settings.md").read_text(encoding="utf-8")
    for name, command in COMMANDS.items():
        assert f"\n## {name}\n" in text
        for key in command.settings.model_fields:
            assert f"\n| `{key}` |" in text, f"{name}: {key}"
    # An empty last column is a setting without a word.
    assert "| |" not in text.replace("| default | |", "")
    assert "|  |" not in text
