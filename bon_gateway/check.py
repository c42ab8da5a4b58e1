"""``bon-gateway check``: would a gateway with these settings find everything that it needs?

It asks every upstream what the running gateway asks before it sends requests, and prints one line
for each: ok, or what is wrong. Settings that cannot be used are an error before that. Settings that
are probably not meant so are lines at the end; they do not make it fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bon_gateway.backends.http.settings import UpstreamSettings
from bon_gateway.backends.reward.reward_server import RewardServerSettings
from bon_gateway.factory import find_key, key_of
from bon_gateway.protocols import Upstream
from bon_gateway.settings.doubts import doubts
from bon_gateway.settings.tree import Settings
from bon_gateway.verifiers.reward import VerifiersRewardSettings
from bon_gateway.verifiers.settings import VerifierSettings
from bon_gateway.verifiers.verifier import Verifier


async def check_upstreams(settings: Settings, environ: Mapping[str, str]) -> tuple[list[str], bool]:
    """A line for each upstream, and whether all are well."""
    upstreams = {p: s for p, s in settings.backends.items() if isinstance(s, UpstreamSettings)}
    within = [path for path in settings.backends if path not in upstreams]
    asked = [(path, upstream, upstream.model) for path, upstream in upstreams.items()]
    # The upstreams of a composed policy are asked already, but not for further models.
    asked += [
        (f"policies.{name}", upstream, model)
        for name, composed in settings.composed_policies.items()
        for policy, model in composed.further_models
        if (upstream := upstreams.get(f"policies.{policy}")) is not None
    ]
    found = await asyncio.gather(
        *(_built(path, upstream, settings, environ).trial(model) for path, upstream, model in asked)
    )
    lines, well = [], True
    for (name, _, _), answers in zip(asked, found, strict=True):
        for replica, wrong in answers.items():
            lines.append(f"{name}: {replica}: {wrong or 'ok'}")
            well = well and wrong is None
    for path, section in _verifiers(settings).items():
        for place, wrong in (await _tried(section.build(find_key(environ)))).items():
            lines.append(f"{path}: {place}: {wrong or 'ok'}")
            well = well and wrong is None
    lines += [
        f"{name}: runs in the gateway's process; not tried"
        for name in within
        if not any(line.startswith(f"{name}.verifiers.") for line in lines)
    ]
    lines += [f"note: {doubt}" for doubt in doubts(settings)]
    return lines, well


def _built(
    path: str, upstream: UpstreamSettings, settings: Settings, environ: Mapping[str, str]
) -> Upstream:
    if isinstance(upstream, RewardServerSettings):
        labels = settings.labels_of(path.removeprefix("rewards."))
        return upstream.build_reading(find_key(environ), labels)
    return upstream.build(key_of(upstream, environ))


def _verifiers(settings: Settings) -> dict[str, VerifierSettings]:
    """Verifiers of served models, and verifiers in rewards."""
    rewards = {
        f"rewards.{name}.verifiers.{place}": one
        for name, reward in settings.reward_models.items()
        if isinstance(reward, VerifiersRewardSettings)
        for place, one in enumerate(reward.verifiers)
    }
    return settings.verifiers | rewards


async def _tried(verifier: Verifier) -> Mapping[str, str | None]:
    await verifier.start()
    try:
        return await verifier.trial()
    finally:
        await verifier.close()
