"""Settings of the caches of rewards and of candidates."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from bon_common.http.settings import Seconds
from bon_gateway.sections.base import Section

MIB = 1024 * 1024


class RewardCacheSettings(Section):
    """A cache of rewards. Each worker has its own; a restart empties it, and so does any change to
    the reward's settings."""

    entries: PositiveInt = 100_000
    """Largest number of rewards to keep, at some 300 bytes each; the least recently used go first.
    No texts are kept."""
    revision: str | None = None
    """Any name for the reward model's weights. Change it when the model behind the same address
    changes: the cache then begins anew."""


class CandidateCacheSettings(Section):
    """A cache of candidates. Each worker has its own; a restart empties it, and so does any change
    to the policy's settings, such as its ``revision``."""

    entries: PositiveInt = 10_000
    """Largest number of candidates to keep; the least recently used go first."""
    max_mb: Annotated[float, Field(gt=0)] = 256.0
    """Largest memory for candidates in each worker, in MiB."""
    life_s: Seconds = 3600.0
    """Seconds to keep a candidate. Shorten it if the model behind the same address may change, or
    if a prompt with only bad answers should soon get others."""
    shared: bool = False
    """Share candidates between callers with different API keys. Then a caller can tell, from the
    speed of an answer, whether others have asked the same."""

    @property
    def size(self) -> float:
        return self.max_mb * MIB
