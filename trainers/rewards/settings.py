"""The source of a reward: a folder, or a server over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from trainers.base.settings import Positive
from trainers.endpoint.settings import ServerAccess


class RewardEndpoint(ServerAccess):
    """A reward behind `POST /v1/score`: a reward server, or any reward of a bon-gateway, such as a
    judge, a hook, an ensemble or verifiers. A prompt's `metadata` goes along: verifiers find the
    expected answer there."""

    free = ServerAccess.free | {"answers_per_request"}

    type: Literal["reward_server"]
    answers_per_request: Positive = 64
    """Most answers in one request. All answers to one prompt stay together, also if they are more,
    because a judge may compare them with each other."""
    missing: float | None = None
    """Reward of an answer that gets none from the server, because a judge abstained. By default
    such an answer ends the run. Set it only with a bon-gateway: a reward server never abstains, and
    refuses such a request."""


def _form(value: Any) -> str | None:
    if isinstance(value, str | Path):
        return "folder"
    return value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)


RewardSource = Annotated[
    Annotated[Path, Tag("folder")] | Annotated[RewardEndpoint, Tag("reward_server")],
    Discriminator(_form),
]
"""A folder of a reward model, or `{type: reward_server, url: ...}`."""
