"""What a command does about an output that exists: it refuses it, unless --overwrite was given.

Nothing but what the command itself writes is ever removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from trainers.base.context import RunContext
from trainers.base.errors import RunError, SettingsError
from trainers.base.files import disk_errors

STATE = ("checkpoints", "sft-first")
"""What a new run would go on from."""
OF_A_RUN = (
    *STATE,
    *("config.json", "ensemble.json", "rm_meta.json", "README.md", "report.md"),
    *("metrics.jsonl", "tensorboard", "adapter"),
)
"""What a training run writes into its folder, apart from weights and tokenizer."""


def claim_files(paths: Iterable[Path], context: RunContext, *, inputs: Iterable[Path] = ()) -> None:
    """RunError naming the first output that exists and may not be replaced; SettingsError for one
    that is an input. What may be replaced stays until the new file is whole."""
    wanted = list(paths)
    refuse_inputs(wanted, inputs)
    found = [path for path in wanted if path.exists()]
    if found and not context.overwrite:
        raise RunError(f"{found[0]}: already there; --overwrite replaces it")


def claim_folder(
    folder: Path,
    context: RunContext,
    *,
    inputs: Iterable[str | Path] = (),
    made: Collection[str] = OF_A_RUN,
    state: Collection[str] = STATE,
    newest: Path | None = None,
) -> None:
    """Make way for a run that writes `made` into `folder`, unless it is resumed. Only the `state`
    of the earlier one is removed: its model stays until the new one is whole.

    RunError naming what an earlier run left there, its newest checkpoint before all; SettingsError
    if the folder is an input.
    """
    refuse_inputs([folder], (Path(one) for one in inputs))
    found = [folder / name for name in made if (folder / name).exists()]
    if not found or context.resume:
        return
    if not context.overwrite:
        raise RunError(
            f"{newest or found[0]}: left by an earlier run; --resume goes on from it, "
            "--overwrite begins anew"
        )
    remove(folder / name for name in state)


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise SettingsError if an output would overwrite an input."""
    read = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in read:
            raise SettingsError(f"output: {path} is an input, and would be overwritten")


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders; one that is not there is no error."""
    for path in paths:
        with disk_errors(str(path)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
