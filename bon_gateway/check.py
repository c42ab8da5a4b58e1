"""``bon-gateway check``: would a gateway with these settings find everything that it needs?

It asks every upstream what the running gateway asks before it sends requests, and prints one line
for each: ok, or what is wrong. Settings that cannot be used are an error before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bon_gateway.backends.http.settings import UpstreamSettings
from bon_gateway.factory import key_of
from bon_gateway.settings.tree import Settings


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
        *(upstream.build(key_of(upstream, environ)).trial(model) for _, upstream, model in asked)
    )
    lines, well = [], True
    for (name, _, _), answers in zip(asked, found, strict=True):
        for replica, wrong in answers.items():
            lines.append(f"{name}: {replica}: {wrong or 'ok'}")
            well = well and wrong is None
    lines += [f"{name}: runs in the gateway's process; not tried" for name in within]
    return lines, well
