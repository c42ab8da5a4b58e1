"""Supervised fine-tuning on the preferred answers, before DPO."""

from accelerate import PartialState

from trainers.base.bad_lines import BadLines
from trainers.base.context import RunContext
from trainers.base.data import Pair, read_placed
from trainers.base.files import read_json, write_json, write_lines
from trainers.dpo.settings import DpoSettings
from trainers.runtime.arguments import is_main_process
from trainers.runtime.checkpoints import SETTINGS, require_equal
from trainers.runtime.run import resumable
from trainers.sft.run import train_sft
from trainers.sft.settings import SftSettings


def fine_tune_first(settings: DpoSettings, context: RunContext) -> DpoSettings:
    """The settings to go on with: as they are, or starting from what `sft_first` made.

    That lies in `sft-first` below the output. A run that is resumed after it was finished takes it
    from there; SettingsError if it was made with other settings or data.
    """
    if settings.sft_first is None:
        return settings
    folder = settings.output / "sft-first"
    data, finished = folder / "preferred.jsonl", folder / SETTINGS
    if is_main_process():
        pairs = read_placed(Pair, settings.train, BadLines(skip=settings.skip_bad))
        lines = ({"messages": [*p.prompt, *p.chosen], **p.inputs.as_json()} for _, p in pairs)
        write_lines(data, lines)
    PartialState().wait_for_everyone()
    shared = settings.model_dump(include=set(SftSettings.model_fields))
    own = {"train": data, "output": folder, "max_steps": None}
    stage = SftSettings.model_validate(shared | own | settings.sft_first.model_dump())
    if context.resume and finished.exists():
        require_equal(read_json(finished), resumable(stage), folder)
    else:
        train_sft(stage, context)
        if is_main_process():
            write_json(finished, resumable(stage))
        PartialState().wait_for_everyone()
    return settings.model_copy(update={"model": str(folder), "revision": None})
