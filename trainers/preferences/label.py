"""`bon-train label`: answers in, preferences out.

Every label goes to a journal as it comes; the output is made from the journal when all records are
labelled. So a run that was stopped goes on, and the form of the output can be changed without
labelling again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainers.base.context import RunContext
from trainers.base.errors import DataError, NothingWrittenError
from trainers.base.files import write_lines
from trainers.base.lines import read_rows
from trainers.base.outputs import claim_files, refuse_inputs, remove, require_place
from trainers.base.progress import progress
from trainers.endpoint.http import FailureLimit, RequestFailedError
from trainers.endpoint.work import for_each
from trainers.preferences.files import journal, journal_path, report_path, write_report
from trainers.preferences.forms import as_list, grouped
from trainers.preferences.inputs import data_files
from trainers.preferences.labellers.hand import HOW_TO, HandLabeller, read_sheet, write_sheet
from trainers.preferences.labels import Label, preferences_of, task_key
from trainers.preferences.prepare import read_all
from trainers.preferences.records import Listwise, Pairwise, Preference
from trainers.preferences.settings import LabelSettings
from trainers.preferences.tally import Tally
from trainers.preferences.usable import DUPLICATE, usable

NO_LABEL = "not labelled"
PASSING_KEYS = frozenset(
    {"url", "api_key_env", "concurrency", "timeout_s", "retries", "backoff_s", "give_up_after"}
    | {"batch_size", "device", "sheet"}
)
"""Settings of a labeller that may change when a run goes on: no label depends on them."""


def run(settings: LabelSettings, context: RunContext) -> dict[str, float]:
    """`bon-train label`. After Ctrl-C every label so far is on the disk."""
    tally = Tally(skip_bad=settings.skip_bad)
    settings = settings.model_copy(update={"input": data_files(settings.input, tally)})
    if not context.dry_run:
        _claim(settings, context)
    tasks = read_tasks(settings, tally)
    if context.dry_run:
        context.show(json.dumps(tasks[0].as_json(), indent=2, ensure_ascii=False))
        return {**tally.figures(), "records to label": len(tasks)}
    labeller = settings.labeller
    server = labeller.server
    failures = FailureLimit(labeller.type, 1 if server is None else server.give_up_after)
    if not isinstance(labeller, HandLabeller) or labeller.sheet is None:
        labels = _labelled(settings, tasks, failures, context)
    elif labeller.sheet.exists():
        labels = read_sheet(labeller.sheet, tasks, settings.step_margins)
    else:
        count = write_sheet(labeller.sheet, tasks, labeller)
        context.show(f"{labeller.sheet}: {HOW_TO}; then run the same command again")
        return {"comparisons to label": count}
    preferences: list[Preference] = []
    for task in tasks:
        label = labels.get(task_key(task))
        if label is None:
            tally.drop(NO_LABEL)
            continue
        preferences += preferences_of(
            task,
            label,
            tally,
            form=settings.form,
            pairs=settings.pairs,
            min_margin=settings.min_margin,
        )
    if preferences:
        write_lines(settings.output, (one.as_json() for one in preferences))
    figures = {
        "records": len(tasks),
        "labelled": len(labels),
        "written": len(preferences),
        **failures.figures(),
    }
    path = report_path(settings.output)
    write_report(path, settings, tally, {"input": settings.input}, figures=figures)
    if not preferences:
        raise NothingWrittenError(
            f"{settings.output}: no preference is left to write: {tally.reasons()}"
        )
    return {**tally.figures(), **figures}


def _claim(settings: LabelSettings, context: RunContext) -> None:
    """Make way for the output. One that was made from labels that are still there, in the journal
    or on a sheet, is made from them anew: there may be more of them now."""
    report = report_path(settings.output)
    labels = journal_path(settings.output)
    require_place(settings.output.parent, settings.output)
    refuse_inputs([settings.output, report, labels], settings.input)
    if context.overwrite:
        remove([labels])
        return
    sheet = settings.labeller.sheet if isinstance(settings.labeller, HandLabeller) else None
    from_sheet = sheet is not None and sheet.exists() and report.exists()
    if not labels.exists() and not from_sheet:
        claim_files([settings.output, report], context)


def read_tasks(settings: LabelSettings, tally: Tally) -> list[Listwise]:
    """The records to label, without the labels that they already have.

    The answers of a pair are put in an order that does not show which one was preferred.
    """
    found: dict[str, Listwise] = {}
    least = settings.labeller.least_answers
    for preference in grouped(read_all(settings, tally), tally):
        kept = usable(_blank(preference), tally, settings.max_chars, least=least)
        if kept is None:
            continue
        assert isinstance(kept, Listwise)
        if task_key(kept) in found:
            tally.drop(DUPLICATE)
        else:
            found[task_key(kept)] = kept
    if not found:
        names = ", ".join(map(str, settings.input))
        raise DataError(f"{names}: nothing to label: {tally.reasons()}")
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
    settings: LabelSettings, tasks: Sequence[Listwise], failures: FailureLimit, context: RunContext
) -> dict[str, Label]:
    """The label of each record, from the journal or new; failed requests leave gaps."""
    path = journal_path(settings.output)
    with journal(path, context.show) as append:
        labels = _read_journal(settings, path)
        if labels is None:
            append({"labeller": _deciding(settings)})
            labels = {}
        waiting = [task for task in tasks if task_key(task) not in labels]
        with progress("records", len(tasks), len(tasks) - len(waiting)) as advance:

            def add(task: Listwise, label: Label) -> None:
                labels[task_key(task)] = label
                append(label.as_json(task_key(task)))
                advance()

            if waiting:
                asyncio.run(_label_all(settings, waiting, failures, add, context.show))
    return labels


async def _label_all(
    settings: LabelSettings,
    tasks: Sequence[Listwise],
    failures: FailureLimit,
    add: Callable[[Listwise, Label], None],
    show: Callable[[str], None],
) -> None:
    labeller = settings.labeller
    async with labeller.opened(settings.step_margins, show) as label:

        async def work(block: Sequence[Listwise]) -> None:
            try:
                found = await label(block)
            except RequestFailedError as error:
                failures.failed(str(error))
                return
            failures.succeeded()
            for both in zip(block, found, strict=True):
                add(*both)

        blocks = (tasks[i : i + labeller.block] for i in range(0, len(tasks), labeller.block))
        await for_each(blocks, work, 1 if labeller.server is None else labeller.server.concurrency)


def _read_journal(settings: LabelSettings, path: Path) -> dict[str, Label] | None:
    """The labels so far, None for a new journal; DataError if it is another labeller's."""
    labels: dict[str, Label] | None = None
    for row in read_rows(path):
        values = row.values
        if values is None:
            raise DataError(f"{row.where}: {row.reason}")
        if labels is None:
            if values.get("labeller") != _deciding(settings):
                raise DataError(
                    f"{row.where}: labelled with other settings of the labeller; choose another "
                    "output or remove this file"
                )
            labels = {}
            continue
        try:
            labels[values["key"]] = Label.from_json(values)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{row.where}: no label: {error}") from error
    return labels


def _deciding(settings: LabelSettings) -> Any:
    """The settings that a label depends on, as JSON has them."""
    return _without_passing(settings.labeller.model_dump(mode="json"))


def _without_passing(values: Any) -> Any:
    if isinstance(values, dict):
        return {k: _without_passing(v) for k, v in values.items() if k not in PASSING_KEYS}
    return values
