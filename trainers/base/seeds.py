"""Random numbers that follow from the run's seed, an iteration and a purpose, and nothing else.

No generator lives through the run, so there is no state to save: a resumed iteration draws what it
would have drawn.
"""

import hashlib

import torch


def mixed_seed(*parts: int | str) -> int:
    """A seed below 2^63; those of different parts are as good as independent."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seeded(*parts: int | str, device: torch.device | None = None) -> torch.Generator:
    """A generator with the seed of these parts."""
    return torch.Generator(device or torch.device("cpu")).manual_seed(mixed_seed(*parts))
