"""The labellers. To add one, write its file and name its settings in `KINDS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Discriminator

from trainers.preferences.labellers.hand import HandSettings
from trainers.preferences.labellers.judge import JudgeSettings
from trainers.preferences.labellers.protocol import LabellerSettings
from trainers.preferences.labellers.reward import RewardModelSettings, RewardServerSettings
from trainers.preferences.labellers.rewrite import RewriteSettings
from trainers.preferences.labellers.rules import BleuSettings, RegexSettings, RougeSettings

KINDS: tuple[type[LabellerSettings], ...] = (
    JudgeSettings,
    BleuSettings,
    RougeSettings,
    RegexSettings,
    RewardModelSettings,
    RewardServerSettings,
    HandSettings,
    RewriteSettings,
)

if TYPE_CHECKING:
    AnyLabeller = LabellerSettings
else:
    AnyLabeller = Annotated[Union[KINDS], Discriminator("type")]  # noqa: UP007 - of a tuple
