"""``bon-gateway check``: would a gateway of these settings find everything that it needs?

It asks every upstream what the gateway would ask before it gives it requests, and says of each in
one line that it is well or what is wrong. Settings that cannot be used are an error before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bon_gateway.factory import build_upstream
from bon_gateway.settings.tree import HttpRewardSettings, Settings, VllmPolicySettings


async def check_upstreams(settings: Settings, environ: Mapping[str, str]) -> tuple[list[str], bool]:
    """A line for each upstream, and whether all are well."""
    upstreams: list[tuple[str, VllmPolicySettings | HttpRewardSettings]] = []
    within: list[str] = []
    for name, policy in settings.policies.items():
        if isinstance(policy, VllmPolicySettings):
            upstreams.append((f"policies.{name}", policy))
        else:
            within.append(f"policies.{name}")
    for name, reward in settings.rewards.items():
        if isinstance(reward, HttpRewardSettings):
            upstreams.append((f"rewards.{name}", reward))
        else:
            within.append(f"rewards.{name}")
    found = await asyncio.gather(
        *(build_upstream(upstream, environ).trial(upstream.model) for _, upstream in upstreams)
    )
    lines, well = [], True
    for (name, _), answers in zip(upstreams, found, strict=True):
        for replica, wrong in answers.items():
            lines.append(f"{name}: {replica}: {wrong or 'ok'}")
            well = well and wrong is None
    lines += [f"{name}: runs in the gateway's process; not tried" for name in within]
    return lines, well
