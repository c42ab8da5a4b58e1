"""The output folder of a demo run: a new one, or one of an earlier run that is replaced."""

import shutil
from pathlib import Path

from trainers.base.errors import SettingsError
from trainers.base.files import disk_errors

MARK = "made-by-bon-train-demo"


def fresh(folder: Path) -> None:
    """Make `folder`, empty but for a mark by which the next run knows that it may empty it.

    Raises SettingsError if it holds anything that a demo run did not make.
    """
    mark = folder / MARK
    with disk_errors(str(folder)):
        if folder.is_dir() and any(folder.iterdir()) and not mark.exists():
            raise SettingsError(f"output: {folder} is not empty, and no earlier demo run made it")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.touch()
