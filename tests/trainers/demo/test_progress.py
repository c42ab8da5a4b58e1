from __future__ import annotations

from trainers.demo.progress import Bars
from trainers.demo.workers import PlanStep, Result


def test_a_bar_follows_its_step_and_goes_when_that_has_ended() -> None:
    shown: list[str] = []
    done = iter((0.25, 0.5))
    told = PlanStep("told", "m:f", {}, progress=lambda: next(done))
    silent = PlanStep("silent", "m:f", {})
    with Bars(2, shown.append) as bars:
        bars.watch([told, silent], {})
        everything, first, second = bars.tasks
        assert (first.description, first.completed, first.total) == ("told", 0.25, 1.0)
        assert (second.description, second.total) == ("silent", None)
        results = {"silent": Result({}, 3.0, 1.0, 1, 1)}
        bars.watch([told], results)
        assert [task.description for task in bars.tasks] == ["all steps", "told"]
        assert (everything.completed, first.completed) == (1, 0.5)
        bars.watch([], results | {"told": Result({}, 61.4, 1.0, 1, 1)})
    assert shown == ["silent: 3 s", "told: 61 s"]
