"""Ways to end runs, and to read what they wrote."""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file

from trainers.base.context import RunContext

START = RunContext("bon-train sft", show=lambda text: None)
RESUME = RunContext("bon-train sft --resume", resume=True, show=lambda text: None)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_equal_weights(left: Path, right: Path) -> None:
    mine, other = weights(left), weights(right)
    assert mine.keys() == other.keys()
    assert [name for name in mine if not torch.equal(mine[name], other[name])] == []


def largest_difference(left: Path, right: Path) -> float:
    mine, other = weights(left), weights(right)
    return max(float((mine[name] - other[name]).abs().max()) for name in mine)


def distance(left: Path, right: Path) -> float:
    """Root of the sum of squares, over the weights that both have."""
    mine, other = weights(left), weights(right)
    both = mine.keys() & other.keys()
    return math.sqrt(sum(float((mine[name] - other[name]).square().sum()) for name in both))


def logs(folder: Path) -> list[dict[str, float]]:
    """The lines of `metrics.jsonl` that report a training loss."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if "loss" in entry]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as if the disk were full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
