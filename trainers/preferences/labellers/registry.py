"""The labellers. To add one, write its file and name its class in `KINDS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Discriminator

from trainers.preferences.labellers.base import Labeller
from trainers.preferences.labellers.hand import HandLabeller
from trainers.preferences.labellers.judge import JudgeLabeller
from trainers.preferences.labellers.reward import RewardModelLabeller, RewardServerLabeller
from trainers.preferences.labellers.rewrite import RewriteLabeller
from trainers.preferences.labellers.rules import BleuLabeller, RegexLabeller, RougeLabeller

KINDS: tuple[type[Labeller], ...] = (
    JudgeLabeller,
    BleuLabeller,
    RougeLabeller,
    RegexLabeller,
    RewardModelLabeller,
    RewardServerLabeller,
    HandLabeller,
    RewriteLabeller,
)

if TYPE_CHECKING:
    AnyLabeller = Labeller
else:
    AnyLabeller = Annotated[Union[KINDS], Discriminator("type")]  # noqa: UP007 - of a tuple
