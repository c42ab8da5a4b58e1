"""The runner: what is done is skipped, what was stopped goes on, what has changed begins anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.benchmarks.real_study import module
from trainers.cli import main as trainers_main

layout = module("layout")
plan = module("plan")
run = module("run")

ROOT = Path(__file__).parents[2]
NOTE = "import sys; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + '\\n')"


class Bench:
    """A folder, and steps that write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.shown: list[str] = []

    def step(self, name: str, *needs: str, code: str = NOTE, **more: Any) -> Any:
        arguments = ["-c", code, str(self.calls), name, *more.pop("words", ())]
        command = plan.Command(
            arguments, ("--resume",), ("--overwrite",), more.pop("tagged", False)
        )
        return plan.StudyStep(name, 1, [command], needs, **more)

    def study(self, *steps: Any) -> Any:
        return run.Study(layout.Layout(self.folder, smoke=True), steps, self.shown.append)

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_is_done_is_not_done_again(bench: Bench) -> None:
    steps = [bench.step("one"), bench.step("two", "one")]
    assert bench.study(*steps).run() == 0
    assert bench.study(*steps).run() == 0
    assert bench.called() == ["one", "two"]
    assert bench.shown[-2:] == ["one: done", "two: done"]


def test_what_has_changed_begins_anew_with_all_that_needs_it(bench: Bench) -> None:
    bench.study(bench.step("one"), bench.step("two", "one"), bench.step("three")).run()
    changed = [bench.step("one", words=["x=2"]), bench.step("two", "one"), bench.step("three")]
    study = bench.study(*changed)
    assert study.listed().count("to do again: settings have changed") == 2
    study.run()
    assert bench.called() == ["one", "two", "three", "one x=2 --overwrite", "two --overwrite"]


def test_what_failed_goes_on(bench: Bench) -> None:
    once = "open(sys.argv[1], 'a').write('x\\n'); sys.exit(len(open(sys.argv[1]).readlines()) < 2)"
    steps = [bench.step("one", code=f"import sys; {once}")]
    with pytest.raises(run.StepFailedError, match="one failed with 1; see"):
        bench.study(*steps).run()
    assert "stopped; goes on" in bench.study(*steps).listed()
    assert bench.study(*steps).run() == 0
    mark = json.loads((bench.folder / "steps" / "one.json").read_text())
    assert mark["finished"]


def test_a_resumed_command_is_told_so(bench: Bench) -> None:
    code = f"{NOTE}; sys.exit('--resume' not in sys.argv)"
    steps = [bench.step("one", code=code)]
    with pytest.raises(run.StepFailedError):
        bench.study(*steps).run()
    assert bench.study(*steps).run() == 0
    assert bench.called() == ["one", "one --resume"]


def test_a_call_ends_after_its_minutes(bench: Bench) -> None:
    steps = [bench.step("one", code=f"{NOTE}; import time; time.sleep(60)"), bench.step("two")]
    assert bench.study(*steps).run(minutes=0.02) == run.STOPPED
    assert "one: stopped after 0.02 minutes; call again to go on" in bench.shown


def test_a_step_is_left_out_without_its_files(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_FILES", raising=False)
    study = bench.study(bench.step("one", environment="SOME_FILES"))
    assert study.run() == 0
    assert bench.shown == ["one: left out, SOME_FILES is not set"]
    assert bench.called() == []


def test_what_can_do_without_a_step_is_done_again_once_it_is_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_FILES", raising=False)
    steps = [bench.step("files", environment="SOME_FILES"), bench.step("page", "files")]
    assert bench.study(*steps).run() == 0
    assert bench.study(*steps).run() == 0
    assert bench.called() == ["page"]
    monkeypatch.setenv("SOME_FILES", "here")
    assert bench.study(*steps).run() == 0
    assert bench.called() == ["page", "files", "page --overwrite"]
    monkeypatch.delenv("SOME_FILES")
    assert bench.study(*steps).run() == 0
    assert len(bench.called()) == 3


def test_what_was_made_by_hand_is_taken_as_done(bench: Bench) -> None:
    study = bench.study(bench.step("one"), bench.step("two", "one"))
    study.take(["one"])
    assert study.run() == 0
    assert bench.called() == ["two"]


def test_only_some_steps_and_what_they_need(bench: Bench) -> None:
    study = bench.study(bench.step("one"), bench.step("two", "one"), bench.step("three"))
    with pytest.raises(ValueError, match="two needs one, to be run before it"):
        study.run(["two"])
    with pytest.raises(ValueError, match="there is no step 'four'; there are one, three, two"):
        study.run(["four"])
    assert study.run(["three"]) == 0
    assert bench.called() == ["three"]


def test_parts_of_a_pool_have_one_tag_that_changes_with_what_they_need(bench: Bench) -> None:
    def tags(word: str) -> list[str]:
        first = bench.step("policy", words=[word])
        parts = [
            bench.step(name, "policy", tagged=True, words=[name], draws="pool")
            for name in ("part-1", "part-2")
        ]
        known = run.hashes([first, *parts])
        return [run.tag_of(part, known) for part in parts]

    one, other = tags("a"), tags("b")
    assert one[0] == one[1]
    assert one[0] != other[0]


@pytest.mark.parametrize("smoke", [False, True])
def test_the_plan_is_in_order_and_its_settings_are_valid(
    smoke: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = layout.Layout(Path("runs/real-study"), smoke)
    seen: set[str] = set()
    for step in plan.steps_of(place):
        assert seen.issuperset(step.needs), step.name
        seen.add(step.name)
        for name in step.reads:
            assert (ROOT / name).is_file()
        for command in step.commands:
            if list(command.arguments[:2]) == ["-m", "trainers"]:
                arguments = [one for one in command.arguments[2:] if one != "--overwrite"]
                assert trainers_main([*arguments, "--print-config"]) == 0, step.name
    assert len(run.hashes(plan.steps_of(place))) == len(seen)


def test_steps_keep_to_their_time() -> None:
    steps = plan.steps_of(layout.Layout(Path("runs/real-study")))
    assert sum(step.minutes for step in steps) <= 240


def test_a_long_training_keeps_checkpoints() -> None:
    """A call may end every twenty minutes, and no more than what follows a checkpoint is lost."""
    for step in plan.steps_of(layout.Layout(Path("runs/real-study"))):
        # What goes on without a flag keeps every line.
        if step.minutes > 20 and any(command.resume for command in step.commands):
            [name] = step.reads
            settings = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
            assert {"save_every", "checkpoint_every"} & settings.keys(), step.name
