"""`bon-train prepare`: any known format in; training and held-out files and a report out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from trainers.base.context import RunContext
from trainers.base.errors import DataError
from trainers.base.files import replaced
from trainers.base.outputs import claim_files, remove
from trainers.preferences.files import write_report
from trainers.preferences.forms import in_form
from trainers.preferences.inputs import data_files
from trainers.preferences.readers import read_preferences
from trainers.preferences.records import Pairwise, Preference
from trainers.preferences.settings import InputSettings, PrepareSettings
from trainers.preferences.split import Side, normalised, side_of
from trainers.preferences.tally import Tally
from trainers.preferences.usable import DUPLICATE, usable


@dataclass
class Written:
    """Contents of one side's file."""

    records: int = 0
    prompts: set[bytes] = field(default_factory=set)
    """Digests of the different normalised prompts."""


CONTRADICTING = "pairs whose answers another pair has the other way round"


def run(settings: PrepareSettings, context: RunContext) -> dict[str, float]:
    """`bon-train prepare`."""
    tally = Tally(skip_bad=settings.skip_bad)
    settings = settings.model_copy(update={"input": data_files(settings.input, tally)})
    if context.dry_run:
        return _dry_run(settings, tally, context)
    written = _nothing_written()
    sides: list[Side] = ["train", "held-out"] if settings.held_out_share else ["train"]
    paths = {side: settings.output / f"{side}.jsonl" for side in sides}
    report = settings.output / "prepare.report.json"
    held_out = settings.output / "held-out.jsonl"
    claim_files([*paths.values(), held_out, report], context, inputs=settings.input)
    with ExitStack() as stack:
        outs = {side: stack.enter_context(replaced(path)) for side, path in paths.items()}
        for preference in canonical(settings, tally):
            side = _add(settings, preference, written)
            line = _line(settings, preference)
            outs[side].write(json.dumps(line, ensure_ascii=False) + "\n")
        _require_records(settings, tally, written)
    if not written["held-out"].records:  # an earlier run's, of other records, or an empty one
        remove([held_out])
        if held_out in paths.values():
            context.show(
                f"note: held_out_share {settings.held_out_share:g} holds out none of "
                f"{len(written['train'].prompts)} prompts; a larger share lets `reward` and `dpo` "
                "measure what they made"
            )
    counts = {
        side: {"records": made.records, "prompts": len(made.prompts)}
        for side, made in written.items()
    }
    write_report(report, settings, tally, {"input": settings.input}, written=counts)
    context.show(f"report: {report}")
    return {
        **tally.figures(),
        **{f"{side} records": written[side].records for side in sides},
        **{f"{side} prompts": len(written[side].prompts) for side in sides},
    }


def _nothing_written() -> dict[Side, Written]:
    return {"train": Written(), "held-out": Written()}


def _add(
    settings: PrepareSettings, preference: Preference, written: Mapping[Side, Written]
) -> Side:
    """Count a record on its side."""
    side = side_of(
        preference.prompt,
        seed=settings.seed,
        held_out_share=settings.held_out_share,
        by=settings.split_by,
        inputs=preference.inputs,
    )
    written[side].records += 1
    prompt = normalised(preference.prompt, settings.split_by, preference.inputs)
    written[side].prompts.add(_digest(prompt))
    return side


def _line(settings: PrepareSettings, preference: Preference) -> dict[str, Any]:
    if settings.layout == "conversations" and isinstance(preference, Pairwise):
        return preference.as_conversations()
    return preference.as_json()


def _dry_run(settings: PrepareSettings, tally: Tally, context: RunContext) -> dict[str, float]:
    """Show the first record as it would be written, and the counts of all; write nothing.

    Fails where the run itself would.
    """
    written = _nothing_written()
    shown = False
    for preference in canonical(settings, tally):
        if not shown:
            context.show(json.dumps(_line(settings, preference), indent=2, ensure_ascii=False))
            shown = True
        _add(settings, preference, written)
    _require_records(settings, tally, written)
    return {**tally.figures(), "records to write": sum(one.records for one in written.values())}


def canonical(settings: PrepareSettings, tally: Tally) -> Iterator[Preference]:
    """Every usable record of the input in the form asked for, without duplicates."""
    sound = (
        kept
        for preference in read_all(settings, tally)
        if (kept := usable(preference, tally, settings.max_chars)) is not None
    )
    seen: set[bytes] = set()
    orders: set[bytes] = set()
    for preference in in_form(
        sound, settings.form, tally, pairs=settings.pairs, min_margin=settings.min_margin
    ):
        # Data sets have ids and sources in their metadata, which make no other record.
        bare = replace(preference, metadata={})
        digest = _digest(json.dumps(bare.as_json(), sort_keys=True))
        if settings.drop_duplicates and digest in seen:
            tally.drop(DUPLICATE)
            continue
        seen.add(digest)
        if isinstance(preference, Pairwise):
            tally.note(CONTRADICTING, _contradicts(preference, orders))
        yield preference


def _contradicts(pair: Pairwise, orders: set[bytes]) -> bool:
    """Whether `orders`, to which the pair is added, has its answers the other way round."""
    asked = [pair.prompt, pair.inputs.as_json()]
    orders.add(_digest(json.dumps([asked, pair.chosen, pair.rejected], sort_keys=True)))
    return _digest(json.dumps([asked, pair.rejected, pair.chosen], sort_keys=True)) in orders


def read_all(settings: InputSettings, tally: Tally) -> Iterator[Preference]:
    """The records of all input files, one after the other."""
    for path in settings.input:
        yield from read_preferences(
            path,
            tally,
            format_name=settings.format,
            options=settings.options,
            max_line_bytes=settings.max_line_bytes,
        )


def _require_records(settings: PrepareSettings, tally: Tally, written: dict[Side, Written]) -> None:
    """Raise DataError unless there is something to train on."""
    if written["train"].records:
        return
    if written["held-out"].records:
        raise DataError(
            f"held_out_share {settings.held_out_share:g} leaves no prompt to train on; there are "
            f"{len(written['held-out'].prompts)}"
        )
    names = ", ".join(map(str, settings.input))
    raise DataError(f"{names}: no usable record: {tally.reasons()}")


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
