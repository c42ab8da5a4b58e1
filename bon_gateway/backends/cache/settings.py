"""Settings of the caches of rewards and of candidates."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from bon_common.http.settings import Seconds
from bon_gateway.sections.base import Section

MIB = 1024 * 1024


class RewardCacheSettings(Section):
    """Rewards that are kept. Each worker has its own; a restart empties it, and so does any change
    to the settings of the reward."""

    entries: PositiveInt = 100_000
    """Most rewards that are kept, at some 300 bytes each; the least recently used go first. Texts
    are not kept."""
    revision: str | None = None
    """Which weights the reward model has, in your words. Change it when the model behind the same
    address changes: the cache then begins anew."""


class CandidateCacheSettings(Section):
    """Candidates that are kept. Each worker has its own; a restart empties it, and so does any
    change to the settings of the policy, such as its ``revision``."""

    entries: PositiveInt = 10_000
    """Most candidates that are kept; the least recently used go first."""
    max_mb: Annotated[float, Field(gt=0)] = 256.0
    """Most memory for them, in MiB, in each worker."""
    life_s: Seconds = 3600.0
    """Seconds that a candidate is kept. Shorten it if the model behind the same address may change,
    or if a prompt whose answers were all bad should soon get others."""
    shared: bool = False
    """Whether callers with different API keys get each other's candidates. Then a caller can find
    out, by how fast an answer comes, what others have asked."""

    @property
    def size(self) -> float:
        return self.max_mb * MIB
