"""`bon-train demo-train` and `bon-train demo-study`: run the steps, measure, write the report."""

from __future__ import annotations

import platform
import resource
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainers.base.context import RunContext
from trainers.base.errors import RunError, SettingsError
from trainers.base.files import disk_errors
from trainers.demo.data import WeakPairs
from trainers.demo.outcome import figures_of, goals, write_figures
from trainers.demo.overoptimised import hacked
from trainers.demo.plan import Seed, steps_of
from trainers.demo.progress import Bars
from trainers.demo.report import headline, write_page
from trainers.demo.settings import DemoSettings, DemoStudySettings, DemoTrainSettings
from trainers.demo.workers import KIB, PlanStep, Result, run_steps

MARK = "made-by-bon-train-demo"


def run_train(settings: DemoTrainSettings, context: RunContext) -> Mapping[str, float]:
    """`bon-train demo-train`."""
    seed = Seed(settings.output, settings.seed, settings.measure, settings.steps)
    results, took = _run(settings, steps_of(seed), context)
    figures = figures_of(results, "", seed.folder)
    seconds = {name: round(result.seconds, 1) for name, result in results.items()}
    write_figures(settings.output / "figures.json", {**figures, "seconds": seconds})
    page = settings.output / "report.md"
    title, notes = "The demo world, once through", _notes(settings, results, took)
    write_page([figures], title, "make demo-train", page, settings.output / "plots", notes)
    for goal in goals(figures):
        mark = "met" if goal.met else "NOT met"
        context.show(f"{goal.text}: {goal.value:.3f}, wanted {goal.bound:g}: {mark}")
    context.show(f"report: {page}")
    return {**headline(figures), "seconds": round(took), "peak memory, MB": _peak(results) // 10**6}


def run_study(settings: DemoStudySettings, context: RunContext) -> Mapping[str, float]:
    """`bon-train demo-study`."""
    seeds = [
        Seed(
            settings.output / f"seed-{seed}", seed, settings.measure, settings.steps,
            WeakPairs(settings.weak_pairs, settings.weak_unsafe_share), f"{seed}-",
        )
        for seed in settings.seeds
    ]  # fmt: skip
    results, took = _run(settings, [step for seed in seeds for step in steps_of(seed)], context)
    figures = [figures_of(results, seed.prefix, seed.folder) for seed in seeds]
    named = {f"seed {seed.seed}": found for seed, found in zip(seeds, figures, strict=True)}
    write_figures(settings.output / "figures.json", named)
    folder = settings.page or settings.output
    page = folder / "training-study.md"
    notes = (
        f"{len(seeds)} seeds; mean ± standard deviation. The weak reward model saw "
        f"{settings.weak_pairs} pairs, {settings.weak_unsafe_share:.0%} of them about unsafe "
        f"requests. {_notes(settings, results, took)}"
    )
    title = "The demo world over several seeds"
    write_page(figures, title, "make demo-study", page, folder / "training-study", notes)
    context.show(f"report: {page}")
    tables = [headline(found) for found in figures]
    met = [goal.met for found in figures for goal in goals(found)]
    stories = [hacked(found["hacked-ppo-history"]) for found in figures]
    return {
        **{name: sum(table[name] for table in tables) / len(tables) for name in tables[0]},
        "goals met": sum(met),
        "goals": len(met),
        "alarms in time": sum(story.in_time for story in stories),
        "seeds": len(seeds),
        "seconds": round(took),
    }


def fresh(folder: Path, *, overwrite: bool) -> None:
    """Make `folder`, empty but for a mark by which the next run knows that it may empty it.

    Raises RunError if a demo run made it and it may not be replaced, SettingsError if it holds
    anything that a demo run did not make.
    """
    mark = folder / MARK
    with disk_errors(str(folder)):
        if folder.is_dir() and any(folder.iterdir()) and not mark.exists():
            raise SettingsError(f"output: {folder} is not empty, and no earlier demo run made it")
        if mark.exists() and not overwrite:
            raise RunError(f"{folder}: left by an earlier demo run; --overwrite replaces it")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.touch()


def _run(
    settings: DemoSettings, steps: Sequence[PlanStep], context: RunContext
) -> tuple[dict[str, Result], float]:
    """All results by step, and the seconds that everything took."""
    fresh(settings.output, overwrite=context.overwrite)
    began = time.monotonic()
    with Bars(len(steps), context.show) as bars:
        results = run_steps(steps, settings.workers, settings.output / "logs", bars.watch)
    return results, time.monotonic() - began


def _notes(settings: DemoSettings, results: Mapping[str, Result], took: float) -> str:
    computed = sum(result.cpu_seconds for result in results.values())
    return (
        f"It took {took / 60:.1f} minutes with {settings.workers} processes of one thread each on "
        f"{platform.machine()}, {computed / 60:.1f} minutes of CPU time in its steps, and "
        f"{_peak(results) / 1e9:.1f} GB of memory at most (the sum of what each process held at "
        "its peak)."
    )


def _peak(results: Mapping[str, Result]) -> int:
    """Bytes: the sum of all processes' peaks, which need not have come together."""
    peaks: dict[int, int] = {}
    for result in results.values():
        peaks[result.process] = max(peaks.get(result.process, 0), result.peak_bytes)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    return own + sum(peaks.values())
