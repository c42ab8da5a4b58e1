"""Rewards of the gateway's settings in a command's own process: opened, asked and closed there.

They are built as the gateway builds them, so a command judges by the very numbers by which a
gateway chooses. Nothing is tried again here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bon_common.settings.errors import SettingsError
from bon_gateway.auth import upstream_key
from bon_gateway.backends.settings import ComposedRewardSettings, RewardSettings
from bon_gateway.factory import build_reward
from bon_gateway.protocols import RewardBackend
from bon_gateway.settings.tree import AnyReward

PATIENCE_S = 30.0
"""Seconds after which one that says why it is not ready is given up. One that says nothing loads a
model, which may take longer."""
LONGEST_S = 1800.0
POLL_S = 0.05


@asynccontextmanager
async def opened_rewards(
    rewards: Mapping[str, AnyReward],
    key: str,
    environ: Mapping[str, str],
    *,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Mapping[str, RewardBackend]]:
    """The rewards by their names, ready. ``key`` is the place of ``rewards`` in the command's
    settings. Raises SettingsError for a section that cannot be used, and for one that is not
    ready."""
    own = _built(rewards, key, environ)
    composed = {
        name: one.compose(own)
        for name, one in rewards.items()
        if isinstance(one, ComposedRewardSettings)
    }
    try:
        for backend in own.values():
            await backend.start()
        for name, backend in own.items():
            await _until_ready(backend, f"{key}.{name}", patience_s)
        yield {name: own.get(name) or composed[name] for name in rewards}
    finally:
        await asyncio.gather(*(backend.close() for backend in own.values()))


def _built(
    rewards: Mapping[str, AnyReward], key: str, environ: Mapping[str, str]
) -> dict[str, RewardBackend]:
    own: dict[str, RewardBackend] = {}
    models = {name: one for name, one in rewards.items() if isinstance(one, RewardSettings)}
    for name, one in rewards.items():
        place = f"{key}.{name}"
        try:
            one.check()
        except SettingsError as error:
            where = f"{place}.{error.key}" if error.key else place
            raise SettingsError("settings", where, error.reason) from None
        if isinstance(one, ComposedRewardSettings):
            try:
                one.check_over(models)
            except ValueError as error:
                raise SettingsError("settings", place, str(error)) from None
        else:
            for within, variable in one.key_variables.items():
                upstream_key(variable, environ, f"{place}.{within}")
            own[name] = build_reward(one, environ)
    return own


async def _until_ready(backend: RewardBackend, place: str, patience_s: float) -> None:
    now = asyncio.get_running_loop().time
    begun = now()
    while not backend.ready():
        took = now() - begun
        known = "; ".join(f"{name}: {why}" for name, why in backend.troubles().items())
        lost = not backend.warming()
        if lost or took > (patience_s if known else LONGEST_S):
            told = known or ("it could not be opened" if lost else f"after {took:.0f} s")
            raise SettingsError("settings", place, f"is not ready: {told}")
        await asyncio.sleep(POLL_S)
