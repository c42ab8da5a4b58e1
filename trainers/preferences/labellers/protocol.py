"""The face of a labeller, and of its settings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Protocol

from trainers.base.settings import Settings
from trainers.preferences.records import Listwise
from trainers.preferences.verdicts import Verdict

Block = Sequence[Listwise]


class Labeller(Protocol):
    """Says of the answers to a prompt which are better."""

    block: int
    """Records that it takes at a time."""
    concurrency: int
    """Blocks that it works on at the same time."""

    async def label(self, tasks: Block) -> list[Verdict]:
        """A verdict for each record.

        Raises RequestFailedError where none could be had; the records are then left for the next
        run. Raises TrainersError for what ends the run.
        """


class LabellerSettings(Settings):
    """Base of a labeller's settings, whose `type` names it."""

    least_answers: ClassVar[int] = 2
    """Answers that a record must have."""

    type: str

    @abstractmethod
    def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AbstractAsyncContextManager[Labeller]:
        """The labeller, connected where it talks to a server.

        `margins` are those of the steps that people choose from; `show` reaches the user. Raises
        SettingsError for a key that is not there or a terminal that is none, ModelError for a
        folder without a reward model.
        """

    @property
    def failures_in_a_row(self) -> int:
        """This many end the run."""
        return 8
