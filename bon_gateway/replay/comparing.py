"""Rewards that only compare the answers of one call, such as those of a pairwise judge.

The gateway refuses them to strategies that compare rewards of different calls or requests, and so
does a replay. Within the candidates of one request they rank as any reward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bon_common.settings.errors import SettingsError
from bon_gateway.backends.settings import ComposedRewardSettings, RewardSettings, compares
from bon_gateway.replay.pools import Source
from bon_gateway.replay.settings import ReplaySettings
from bon_gateway.settings.tree import AnyReward


def compares_anew(name: str, score_by: Mapping[str, AnyReward]) -> bool:
    """Whether this one of ``score_by`` only compares. Raises SettingsError for an ensemble of
    unknown rewards."""
    one = score_by[name]
    if isinstance(one, ComposedRewardSettings):
        try:
            one.check_over({n: r for n, r in score_by.items() if isinstance(r, RewardSettings)})
        except ValueError as error:
            raise SettingsError("settings", f"score_by.{name}", str(error)) from None
    return compares(name, score_by)


def compares_by_name(name: str, score_by: Mapping[str, AnyReward], source: Source) -> bool:
    """The same for an entry of the candidates' ``rewards``. One that was recorded may be a member
    of the reward that served; then it counts as comparing if that one does."""
    return compares_anew(name, score_by) if name in score_by else source.compares


def choosing(settings: ReplaySettings, source: Source) -> Iterator[str]:
    """The rewards among those that choose that only compare."""
    if settings.rewards:
        names = [one.reward for one in settings.rewards]
    elif settings.score_by:
        names = [*settings.score_by]
    else:
        names = [] if source.reward is None else [source.reward]
    for name in names:
        if compares_by_name(name, settings.score_by, source):
            yield name


def refuse_unsteady(settings: ReplaySettings, source: Source) -> list[str]:
    """The names of ``choosing``. Raises SettingsError for a strategy that they cannot serve."""
    found = [*choosing(settings, source)]
    for name, strategy in settings.strategies.items():
        if found and strategy.needs_steady_rewards:
            raise SettingsError(
                "replay", f"strategies.{name}", f"{strategy.type} needs rewards that compare across"
                f" calls, and reward {found[0]!r} only compares the answers of one",
            )  # fmt: skip
    return found
