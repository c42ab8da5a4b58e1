from __future__ import annotations

from importlib import import_module
from pathlib import Path

from trainers.demo.data import WeakPairs
from trainers.demo.plan import Seed, steps_of
from trainers.demo.settings import MeasureSettings


def test_every_step_has_its_function() -> None:
    seed = Seed(Path("demo"), 0, MeasureSettings(), {}, WeakPairs(300, 0.8))
    for step in steps_of(seed):
        module, _, name = step.function.partition(":")
        assert callable(getattr(import_module(module), name)), step.name
