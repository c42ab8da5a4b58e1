"""The files of a round, each there whole or not at all: a killed run goes on behind them."""

from dataclasses import dataclass
from pathlib import Path


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
