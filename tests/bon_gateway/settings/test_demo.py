from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bon_gateway.settings import demo
from bon_gateway.settings.tree import Settings


def test_its_models_are_there_and_its_settings_are_valid() -> None:
    settings = Settings.model_validate(demo.tree())
    for backend in settings.backends.values():
        assert (Path(backend.model_dump()["model"]) / "config.json").is_file()
    assert settings.models["demo"].strategy.drawn == 8
    assert settings.models["demo-first-k"].strategy.drawn == 10
    assert settings.models["demo-single"].reward is None


def test_it_is_light_to_import() -> None:
    script = "import sys, bon_gateway.cli; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
