"""The folder that a run ends with: whole weights, tokenizer, configuration; an adapter beside."""

import shutil
from pathlib import Path
from typing import Any

from accelerate.utils import extract_model_from_parallel
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from bon_common.publish import flush, publish
from trainers.base.files import PARTIAL, disk_errors, remove_partial
from trainers.runtime.lora import merged
from trainers.runtime.quantized import is_quantized
from trainers.runtime.trained import record, write_record

ADAPTER = "adapter"
"""The folder of a LoRA run's adapter, within that of the merged model."""
CONFIG = "config.json"
OF_ANOTHER = ("ensemble.json", "rm_meta.json")
"""What an earlier run may have left here, and would be wrong beside this model."""
REFERENCE = "ref"
"""TRL's copy of an adapter that DPO goes on training; it stands for the frozen reference."""


def save(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a trained model as a folder that transformers and vLLM load; a `PeftModel` is merged.

    Every user of the machine may read it. Until all of it is there, the folder has no
    `config.json` and cannot be loaded. Raises RunError if the disk is full.
    """
    partial = folder / f"{PARTIAL}model"
    # Trained under autocast, the model would answer in bfloat16 here, and not as the float32
    # weights that are written.
    model = extract_model_from_parallel(model, keep_fp32_wrapper=False)
    adapted = isinstance(model, PeftModel)
    # Over four bits a model answers otherwise than the float32 weights that are written.
    four_bits = adapted and is_quantized(model)
    trained = {} if four_bits else record(model, tokenizer)
    with disk_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        remove_partial(folder)
        partial.mkdir()
        if adapted:
            if REFERENCE in model.peft_config:
                model.delete_adapter(REFERENCE)
            model.save_pretrained(str(partial / ADAPTER))
            tokenizer.save_pretrained(partial / ADAPTER)
        whole = merged(model)
        if four_bits:
            trained = record(whole, tokenizer)
        whole.config.use_cache = True  # the trainer turned it off; generation needs it
        _name_end(whole, tokenizer)
        whole.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        write_record(partial, trained)
        if adapted:
            write_record(partial / ADAPTER, trained)
        for name in (CONFIG, *OF_ANOTHER):
            (folder / name).unlink(missing_ok=True)
        _move(partial, folder)


def _name_end(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Name the tokenizer's end-of-turn token among the model's: servers stop at the model's."""
    eos = tokenizer.eos_token_id
    places = (model.config.get_text_config(), getattr(model, "generation_config", None))
    for place in places if isinstance(eos, int) else ():
        known = getattr(place, "eos_token_id", None)
        others = known if isinstance(known, list) else [] if known is None else [known]
        if place is not None and eos not in others:
            place.eos_token_id = [eos, *others] if others else eos


def _move(partial: Path, folder: Path) -> None:
    """Move what is complete to its place, the configuration last."""
    shutil.rmtree(folder / ADAPTER, ignore_errors=True)
    for path in sorted(partial.iterdir(), key=lambda path: path.name == CONFIG):
        if path.is_dir():
            publish(path, folder / path.name)
        else:
            path.chmod(0o644)
            flush(path)
            path.replace(folder / path.name)
    partial.rmdir()
    flush(folder)
