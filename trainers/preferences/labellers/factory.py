"""From settings to a labeller that is ready to work."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from trainers.base.errors import SettingsError
from trainers.endpoint.http import JsonClient
from trainers.preferences.label_settings import HandSettings, LabellerSettings
from trainers.preferences.labellers.hand import TerminalLabeller
from trainers.preferences.labellers.judge import JudgeLabeller
from trainers.preferences.labellers.protocol import Labeller
from trainers.preferences.labellers.reward import RewardModelLabeller, RewardServerLabeller
from trainers.preferences.labellers.rewrite import RewriteLabeller
from trainers.preferences.labellers.rules import bleu, regex, rouge


@asynccontextmanager
async def opened(
    settings: LabellerSettings, margins: Mapping[str, float], show: Callable[[str], None]
) -> AsyncIterator[Labeller]:
    """The labeller, connected where it talks to a server.

    Raises SettingsError for a key that is not there or a terminal that is none, ModelError for a
    folder without a reward model.
    """
    match settings.kind:
        case "judge":
            async with JsonClient(settings.endpoint) as client:
                yield JudgeLabeller(client, settings)
        case "rewrite":
            async with JsonClient(settings.endpoint) as client:
                yield RewriteLabeller(client, settings)
        case "reward_server":
            async with JsonClient(settings) as client:
                yield RewardServerLabeller(client, settings)
        case "reward_model":
            yield RewardModelLabeller(settings)
        case "bleu":
            yield bleu()
        case "rouge":
            yield rouge(settings)
        case "regex":
            yield regex(settings)
        case "hand":
            yield _terminal(settings, margins, show)


def _terminal(
    settings: HandSettings, margins: Mapping[str, float], show: Callable[[str], None]
) -> Labeller:
    if not sys.stdin.isatty():
        raise SettingsError("labeller.sheet: needed, since there is no terminal to ask in")
    return TerminalLabeller(settings, margins, show=show, answer=sys.stdin.readline)
