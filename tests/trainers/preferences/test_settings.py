from __future__ import annotations

import pytest

from trainers.base.settings import Settings, load_settings, shipped
from trainers.preferences.settings import CollectSettings, LabelSettings, PrepareSettings


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (CollectSettings, "demo-collect.yaml"),
        (LabelSettings, "demo-label.yaml"),
        (PrepareSettings, "demo-prepare.yaml"),
        (CollectSettings, "qwen-collect.yaml"),
        (LabelSettings, "qwen-label.yaml"),
        (PrepareSettings, "qwen-prepare.yaml"),
        (PrepareSettings, "qwen-ultrafeedback-prepare.yaml"),
        (PrepareSettings, "qwen-log-prepare.yaml"),
    ],
)
def test_shipped_files_are_valid(kind: type[Settings], name: str) -> None:
    assert isinstance(load_settings(kind, shipped(name)), kind)
