"""The files of a round, each there whole or not at all: a killed run goes on behind them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.data import write_records
from trainers.errors import RunError
from trainers.runtime.files import write_text, write_whole


@dataclass(frozen=True)
class RoundFolder:
    """`rounds/N` of an output folder."""

    folder: Path

    @property
    def answers(self) -> Path:
        """Folder of the sampled answers with their rewards, a file a block of prompts."""
        return self.folder / "answers"

    @property
    def pairs(self) -> Path:
        return self.folder / "pairs.jsonl"

    @property
    def policy(self) -> Path:
        """What DPO made of the round's pairs."""
        return self.folder / "policy"

    @property
    def record(self) -> Path:
        """Written last: with it the round is complete."""
        return self.folder / "round.json"


def round_folder(output: Path, number: int) -> RoundFolder:
    return RoundFolder(output / "rounds" / str(number))


def write_json(path: Path, values: Any) -> None:
    """Write `values` indented; RunError if the disk is full."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write JSONL; RunError if the disk is full."""
    write_whole(path, lambda partial: write_records(partial, records))


def read_json(path: Path) -> Any:
    """The content of a file that `write_json` wrote; RunError for another."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not a file of bon-train iterate") from error
