"""Pools: all candidates that were drawn for a prompt, with their rewards and the truth.

A file has the candidate log's lines, to which `task` is added, and to each candidate `gold`, 1 or
0, and the rewards of other models. So whatever reads the candidate log reads a pool.
"""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FINISHED = "finished"
Line = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """One candidate."""

    text: str
    finished: bool
    """Ended by itself. The gateway lets others win only where none has."""
    tokens: int
    gold: float
    reward: float | None
    """None where nothing was scored: one sample wins without."""
    logprob: float | None
    """Sum over its tokens, in nats."""
    others: Mapping[str, float]
    """Rewards of further models by their names."""

    @property
    def mean_logprob(self) -> float:
        """Per token; the least of all where it is not known."""
        return -math.inf if self.logprob is None else self.logprob / max(self.tokens, 1)


@dataclass(frozen=True)
class Pool:
    """One prompt's."""

    prompt: str
    task: str
    drawn: Sequence[Drawn]
    winner: int
    """Place of the one that the gateway answered with."""

    @property
    def golds(self) -> list[float]:
        return [one.gold for one in self.drawn]

    @property
    def answer(self) -> Drawn:
        return self.drawn[self.winner]


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file, packed or not. A last line that is cut off, as a killed process leaves
    it, is not there."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    for line in text.split("\n")[:-1]:
        yield json.loads(line)


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Whole or not at all. The same lines give the same packed file on every day."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    if path.suffix == ".gz":
        packed = io.BytesIO()
        with gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as file:
            file.write(text)
        text = packed.getvalue()
    partial = path.with_name(f"{path.name}.part")
    partial.write_bytes(text)
    partial.replace(path)


def read_pools(path: Path) -> list[Pool]:
    """In the order of the file."""
    return [pool_of(line) for line in read_lines(path)]


def pool_of(line: Mapping[str, Any]) -> Pool:
    """A line whose candidates have their `gold`. Candidates that gave no answer were lost, and the
    line is too if the winner is among them."""
    found = [one for one in line["candidates"] if one["message"] is not None]
    places = [one["index"] for one in found]
    return Pool(
        prompt=line["messages"][-1]["content"],
        task=line["task"],
        drawn=[
            Drawn(
                text=one["message"]["content"] or "",
                finished=one["status"] == FINISHED,
                tokens=one["tokens"],
                gold=one["gold"],
                reward=one["reward"],
                logprob=one.get("logprob"),
                others=one.get("rewards", {}),
            )
            for one in found
        ],
        winner=places.index(line["winner"]),
    )
