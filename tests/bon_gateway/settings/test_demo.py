from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bon_gateway.settings import demo
from bon_gateway.settings.tree import Settings


def test_its_models_are_there_and_its_settings_are_valid() -> None:
    settings = Settings.model_validate(demo.tree())
    for backend in settings.backends.values():
        assert (Path(backend.model_dump()["model"]) / "config.json").is_file()
    assert settings.models["demo"].strategy.drawn == 8
    assert settings.models["demo-first-k"].strategy.drawn == 10
    assert settings.models["demo-single"].reward is None


def test_the_real_one() -> None:
    settings = Settings.model_validate(demo.tree("real"))
    models = settings.models.items()
    assert {name: model.strategy.drawn for name, model in models} == {
        "smollm2": 4, "smollm2-first-k": 5, "smollm2-single": 1,
    }  # fmt: skip
    [policy] = settings.policies.values()
    assert policy.model_dump()["generation"]["temperature"] == 0.7


@pytest.mark.parametrize("which", demo.DEMOS)
def test_which_one_is_in_use(which: demo.Demo) -> None:
    settings = Settings.model_validate(demo.tree(which))
    assert demo.in_use(settings) == which
    assert demo.in_use(settings.model_copy(update={"models": {}})) is None
    assert "{url}/v1/chat/completions" in demo.HINTS[which]


@pytest.mark.parametrize(("cores", "threads"), [(2, None), (8, None), (64, 8)])
def test_a_large_machine_is_not_taken_whole(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int | None
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert demo.tree("real")["policies"]["smollm2"]["threads"] == threads


def test_it_is_light_to_import() -> None:
    script = "import sys, bon_gateway.cli; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("which", demo.DEMOS)
def test_the_printed_question_waits_until_the_models_are_loaded(which: demo.Demo) -> None:
    before, found, _ = demo.HINTS[which].partition("{url}/v1/chat/completions")
    assert found
    assert "--retry" in before
    assert "{url}/readyz" in before
