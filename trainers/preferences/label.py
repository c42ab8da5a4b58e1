"""`bon-train label`: answers in, preferences out.

Every verdict goes to a journal as it comes; the output is made from the journal when all is
labelled. So a run that was stopped goes on, and the form of the output can be changed without
labelling again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainers.base.context import INTERRUPTED, RunContext
from trainers.base.errors import DataError
from trainers.base.files import replaced, write_json
from trainers.base.lines import read_rows
from trainers.base.progress import Advance, progress
from trainers.endpoint.http import Failures, RequestFailedError
from trainers.endpoint.work import for_each
from trainers.preferences.files import (
    Journal,
    refuse_overwriting,
    report_path,
)
from trainers.preferences.forms import as_list, grouped
from trainers.preferences.label_settings import LabelSettings
from trainers.preferences.labellers.hand import HOW_TO, HandSettings, read_sheet, write_sheet
from trainers.preferences.prepare import input_hashes, read_all
from trainers.preferences.records import Listwise, Pairwise, Preference
from trainers.preferences.tally import Tally
from trainers.preferences.usable import DUPLICATE, Fits, usable, within_chars
from trainers.preferences.verdicts import Verdict, preferences_of, task_key

NO_VERDICT = "not labelled"
PASSING_KEYS = frozenset(
    {"url", "api_key_env", "concurrency", "timeout_s", "retries", "backoff_s", "give_up_after"}
    | {"batch_size", "device", "sheet"}
)
"""Settings of a labeller that may change while a run goes on: they decide no verdict."""


def run(settings: LabelSettings, context: RunContext) -> dict[str, float]:
    """`bon-train label`. Exits with 130 after Ctrl-C, with every verdict so far on the disk."""
    refuse_overwriting(settings.input, [settings.output])
    tally = Tally(skip_bad=settings.skip_bad)
    tasks = read_tasks(settings, tally)
    if context.dry_run:
        context.show(json.dumps(tasks[0].as_json(), indent=2, ensure_ascii=False))
        return {**tally.figures(), "records to label": len(tasks)}
    labeller = settings.labeller
    failures = Failures(labeller.type, labeller.failures_in_a_row)
    if not isinstance(labeller, HandSettings) or labeller.sheet is None:
        verdicts = _labelled(settings, tasks, failures, context)
    elif labeller.sheet.exists():
        verdicts = read_sheet(labeller.sheet, tasks, settings.step_margins)
    else:
        count = write_sheet(labeller.sheet, tasks, labeller)
        context.show(f"{labeller.sheet}: {HOW_TO}; then run the same command again")
        return {"comparisons to label": count}
    written = _write(settings, tasks, verdicts, tally)
    failed = {f"failed: {reason}": n for reason, n in failures.reasons.items()}
    figures = {"records": len(tasks), "labelled": len(verdicts), "written": written, **failed}
    _write_report(settings, tally, figures)
    return {**tally.figures(), **figures}


def read_tasks(settings: LabelSettings, tally: Tally) -> list[Listwise]:
    """The records to label, without the labels that they have.

    The answers of a pair are put in an order that does not say which one was preferred.
    """
    fits: list[Fits] = [] if settings.max_chars is None else [within_chars(settings.max_chars)]
    found: dict[str, Listwise] = {}
    for preference in grouped(read_all(settings, tally), tally):
        kept = usable(_blank(preference), tally, fits, least=settings.labeller.least_answers)
        if kept is None:
            continue
        assert isinstance(kept, Listwise)
        if task_key(kept) in found:
            tally.drop(DUPLICATE)
        else:
            found[task_key(kept)] = kept
    if not found:
        names = ", ".join(map(str, settings.input))
        reasons = "; ".join(f"{n} {reason}" for reason, n in tally.dropped.most_common())
        raise DataError(f"{names}: nothing to label: {reasons}")
    return list(found.values())


def _blank(preference: Pairwise | Listwise) -> Listwise:
    if isinstance(preference, Pairwise):
        listed = as_list(preference)
        in_order = sorted(listed.candidates, key=lambda c: json.dumps(c.answer, sort_keys=True))
        preference = replace(listed, candidates=tuple(in_order))
    candidates = tuple(
        replace(candidate, score=None, dimensions={}) for candidate in preference.candidates
    )
    return replace(preference, candidates=candidates, ordinal=False)


def _labelled(
    settings: LabelSettings, tasks: Sequence[Listwise], failures: Failures, context: RunContext
) -> dict[str, Verdict]:
    """The verdict on each record, from the journal or new; failed requests leave gaps."""
    path = settings.output.with_name(f"{settings.output.name.removesuffix('.jsonl')}.labels.jsonl")
    with Journal(path) as journal:
        if journal.cut:
            context.show(f"{path}: a torn last line was cut off")
        verdicts = _read_journal(settings, path)
        if verdicts is None:
            journal.append({"labeller": _deciding(settings)})
            verdicts = {}
        waiting = [task for task in tasks if task_key(task) not in verdicts]
        with progress("records", len(tasks), len(tasks) - len(waiting)) as advance:
            try:
                asyncio.run(
                    _label_all(settings, waiting, verdicts, journal, failures, advance, context)
                )
            except KeyboardInterrupt:
                context.show(f"stopped; {path} is whole, the same command goes on")
                raise SystemExit(INTERRUPTED) from None
    return verdicts


async def _label_all(
    settings: LabelSettings,
    tasks: Sequence[Listwise],
    verdicts: dict[str, Verdict],
    journal: Journal,
    failures: Failures,
    advance: Advance,
    context: RunContext,
) -> None:
    if not tasks:
        return
    async with settings.labeller.opened(settings.step_margins, context.show) as labeller:

        async def work(block: Sequence[Listwise]) -> None:
            try:
                found = await labeller.label(block)
            except RequestFailedError as error:
                failures.failed(str(error))
                return
            failures.succeeded()
            for task, verdict in zip(block, found, strict=True):
                key = task_key(task)
                verdicts[key] = verdict
                journal.append(verdict.as_json(key))
            advance(len(block))

        blocks = (tasks[i : i + labeller.block] for i in range(0, len(tasks), labeller.block))
        await for_each(blocks, work, labeller.concurrency)


def _read_journal(settings: LabelSettings, path: Path) -> dict[str, Verdict] | None:
    """The verdicts so far, None for a new journal; DataError if it is another labeller's."""
    verdicts: dict[str, Verdict] | None = None
    for row in read_rows(path):
        values = row.values
        if values is None:
            raise DataError(f"{row.where}: {row.reason}")
        if verdicts is None:
            if values.get("labeller") != _deciding(settings):
                raise DataError(
                    f"{row.where}: labelled with other settings of the labeller; choose another "
                    "output or remove this file"
                )
            verdicts = {}
            continue
        try:
            verdicts[values["key"]] = Verdict.from_json(values)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{row.where}: no verdict: {error}") from error
    return verdicts


def _deciding(settings: LabelSettings) -> Any:
    """The settings that a verdict depends on, as JSON has them."""
    return _without_passing(settings.labeller.model_dump(mode="json"))


def _without_passing(values: Any) -> Any:
    if isinstance(values, dict):
        return {k: _without_passing(v) for k, v in values.items() if k not in PASSING_KEYS}
    return values


def _write(
    settings: LabelSettings,
    tasks: Sequence[Listwise],
    verdicts: Mapping[str, Verdict],
    tally: Tally,
) -> int:
    count = 0
    with replaced(settings.output) as out:
        for preference in _preferences(settings, tasks, verdicts, tally):
            out.write(json.dumps(preference.as_json(), ensure_ascii=False) + "\n")
            count += 1
    return count


def _preferences(
    settings: LabelSettings,
    tasks: Sequence[Listwise],
    verdicts: Mapping[str, Verdict],
    tally: Tally,
) -> Iterator[Preference]:
    for task in tasks:
        verdict = verdicts.get(task_key(task))
        if verdict is None:
            tally.drop(NO_VERDICT)
            continue
        yield from preferences_of(
            task,
            verdict,
            tally,
            form=settings.form,
            pairs=settings.pairs,
            min_margin=settings.min_margin,
        )


def _write_report(settings: LabelSettings, tally: Tally, figures: Mapping[str, int]) -> None:
    report = {
        "input": input_hashes(settings),
        "settings": settings.model_dump(mode="json", exclude={"input", "output"}),
        **tally.as_json(),
        "figures": dict(figures),
    }
    write_json(report_path(settings.output), report, ensure_ascii=False)
