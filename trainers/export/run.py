"""Write the folder, read it back, require parity, and only then give it its name."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from bon_common.publish import publish
from trainers.base.context import RunContext
from trainers.base.errors import ModelError
from trainers.base.files import PARTIAL, disk_errors
from trainers.base.loading import load_pretrained
from trainers.base.outputs import claim_files
from trainers.export.checks import (
    TOLERANCE,
    check_ends,
    check_padding,
    check_template,
    outputs,
    probe_ids,
    relative_difference,
    require_parity,
    require_trained,
)
from trainers.export.difference import thinned
from trainers.export.settings import AdapterSettings, ExportSettings, SamplingDefaults
from trainers.export.source import CLASSES, ExportSource, Kind, load_source
from trainers.runtime.lora import merged

CARRIED = ("README.md", "rm_meta.json")
"""Files beside the weights that go with them: the model card, the reward model's statistics."""
DIFFERENCE = "largest relative difference of an output"
SERVE: dict[Kind, str] = {
    "policy": "vllm serve {folder}",
    "reward model": "vllm serve {folder} --runner pooling",
}


def export(settings: ExportSettings, context: RunContext) -> dict[str, float]:
    """`bon-train export`: make `settings.output`, which appears once it is complete and gives what
    the source gives.

    Raises ModelError for a model that cannot be served as it was trained (see
    `trainers.export.checks`), RunError for an output that exists or if the disk is full.
    """
    final = settings.output
    claim_files([final], context, inputs=[Path(settings.model)], folders=True)
    source = load_source(settings)
    _check(source, settings.model)
    loaded = require_trained(source.model, settings.model)
    if settings.as_adapter is not None:
        return _export_adapter(source, settings, settings.as_adapter)
    sequences = probe_ids(source.tokenizer)
    before = outputs(source.model, sequences)
    with _new_folder(final) as partial:
        with disk_errors(str(final)):
            _write(source, settings, partial)
        written = load_pretrained(CLASSES[source.kind], partial).eval()
        difference = require_parity(
            before, outputs(written, sequences), settings.dtype, settings.model
        )
    context.show(f"{source.kind}: {SERVE[source.kind].format(folder=final)}")
    return {DIFFERENCE: max(loaded, difference), "tolerance": TOLERANCE[settings.dtype]}


def _export_adapter(
    source: ExportSource, settings: ExportSettings, wanted: AdapterSettings
) -> dict[str, float]:
    """The difference to the base. That it is not the whole difference is said, and no error."""
    source = replace(source, model=merged(source.model))
    sequences = probe_ids(source.tokenizer)
    before = outputs(source.model, sequences)
    thin = thinned(source, wanted, settings.model)
    thin.model.to(getattr(torch, settings.dtype))
    with _new_folder(settings.output) as partial, disk_errors(str(settings.output)):
        thin.model.save_pretrained(str(partial))
        source.tokenizer.save_pretrained(partial)
        _carry(settings, partial)
    after = outputs(thin.model.float(), sequences)
    return {
        "share of the difference that is kept": thin.kept,
        DIFFERENCE: relative_difference(before, after),
    }


@contextmanager
def _new_folder(final: Path) -> Iterator[Path]:
    """Where to write; it gets its name once all is done, and leaves nothing otherwise."""
    partial = final.parent / f"{PARTIAL}{final.name}"
    try:
        with disk_errors(str(final)):
            final.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
        yield partial
        with disk_errors(str(final)):
            publish(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check(source: ExportSource, name: str) -> None:
    needs_end = source.kind == "policy" or _is_decoder(source.model)
    check_ends(source.model, source.tokenizer, name, needs_end=needs_end)
    if source.kind == "reward model":
        check_padding(source.model, source.tokenizer, name)
        if source.tokenizer.chat_template is None and _is_decoder(source.model):
            raise ModelError(f"{name}: the tokenizer has no chat template")
    else:
        check_template(source.tokenizer, name)


def _is_decoder(model: Any) -> bool:
    """Whether the reward is read at the last token of a conversation."""
    return hasattr(model, "score")


def _write(source: ExportSource, settings: ExportSettings, folder: Path) -> None:
    model = merged(source.model).to(getattr(torch, settings.dtype))
    model.config.use_cache = True
    if source.kind == "policy":
        ends = model.generation_config.eos_token_id
        model.generation_config = _generation(settings.generation, source.tokenizer, ends)
    model.save_pretrained(folder)
    source.tokenizer.save_pretrained(folder)
    _carry(settings, folder)


def _carry(settings: ExportSettings, folder: Path) -> None:
    for name in CARRIED:
        beside = Path(settings.model) / name
        # An adapter's card and statistics lie with the merged model, one folder up.
        found = beside if beside.is_file() else Path(settings.model).parent / name
        if found.is_file() and _is_ours(found):
            shutil.copyfile(found, folder / name)


def _is_ours(path: Path) -> bool:
    """Not the card that peft writes beside an adapter."""
    return path.suffix != ".md" or "Made by:" in path.read_text(encoding="utf-8")


def _generation(
    defaults: SamplingDefaults, tokenizer: Any, ends: int | list[int] | None
) -> GenerationConfig:
    """`ends` are the tokens at which the model ended before; the tokenizer's comes first."""
    others = ends if isinstance(ends, list) else [ends]
    stops = [tokenizer.eos_token_id, *others]
    unique = list(dict.fromkeys(token for token in stops if token is not None))
    sampled = defaults.temperature > 0
    values: dict[str, Any] = {
        "do_sample": sampled,
        "eos_token_id": unique if len(unique) > 1 else unique[0],
        "pad_token_id": tokenizer.pad_token_id,
    }
    if sampled:
        values |= defaults.model_dump(exclude_none=True)
    elif defaults.max_new_tokens is not None:
        values["max_new_tokens"] = defaults.max_new_tokens
    return GenerationConfig(**values)  # type: ignore[no-untyped-call]
