"""What a command does about an output that exists: it refuses it, unless --overwrite was given.

Nothing but what the command itself writes is ever removed.
"""

from __future__ import annotations

import os
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


def claim_files(
    paths: Iterable[Path],
    context: RunContext,
    *,
    inputs: Iterable[Path] = (),
    folders: bool = False,
) -> None:
    """RunError naming the first output that exists and may not be replaced, or could not be
    written; SettingsError for one that is an input. What may be replaced stays until the new file
    is whole. A folder is in the way unless outputs may be `folders`."""
    wanted = list(paths)
    for path in wanted:
        require_place(path.parent, path)
    refuse_inputs(wanted, inputs)
    found = [path for path in wanted if _is_there(path)]
    for path in found:
        if path.is_dir() and not folders:
            raise RunError(f"{path}: is a folder; the output is a file")
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
    require_place(folder)
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


def require_place(folder: Path, output: Path | None = None) -> None:
    """Raise RunError unless `folder` can be written to, or made; known before hours of work. The
    error begins with `output`, which is the folder itself unless a file in it is meant."""
    output = output or folder
    there = next(one for one in (folder, *folder.parents) if _is_there(one))
    if not there.is_dir():
        what = "no folder" if there.exists() else "a link to nothing"
        raise RunError(f"{output}: {there} is {what}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunError(f"{output}: {there} may not be written to")


def _is_there(path: Path) -> bool:
    """Whether anything has that name; RunError for one that cannot be looked at."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}") from error
    return True


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
