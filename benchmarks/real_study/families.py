"""Which way to select wins where: the study's pools by families of tasks.

    python -m benchmarks.real_study.families --json runs/families.json

Every strategy runs on the pools of each family as it serves (``bon-gateway replay``), beside greedy
answers, random choice and the oracle. Gold is the share of right answers. Intervals are paired
with plain best-of-N of the same family.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bon_gateway.compare.statistics import Interval
from bon_gateway.replay.results import ReplayResults, ReplayRow
from bon_gateway.replay.run import run
from bon_gateway.replay.settings import ReplaySettings

POOLS = Path(__file__).parents[2] / "docs" / "real-study" / "pools"
FAMILIES: Mapping[str, Sequence[str]] = {
    "a number": (
        "differences", "doubles", "larger", "letters-of-a-word", "number-of-sentences", "products",
        "sequences", "sums", "things-in-a-list", "units",
    ),
    "one word": (
        "alphabet", "calendar", "capitals", "kind-of-thing", "languages", "letter-case",
        "one-letter", "opposites", "thing-of-kind",
    ),
    "a form": (
        "end-phrase", "first-letters", "json-objects", "lists", "word-to-avoid", "word-to-use",
    ),
}  # fmt: skip
"""What is asked for. Of a form many different answers are right."""
EXACT = {"extract": {"type": "exact"}}


def strategies(n: int) -> dict[str, dict[str, Any]]:
    """The settings of each row."""
    return {
        "best_of_n": {"type": "best_of_n", "n": n},
        "confidence": {"type": "confidence", "n": n},
        "majority": {"type": "majority", "n": n, **EXACT},
        # The pools have no alternatives to the tokens, so that they have one signal alone.
        "borda": {"type": "borda", "n": n, "signal": {"type": "mean_logprob"}, **EXACT},
        "weighted_vote": {"type": "weighted_vote", "n": n, **EXACT},
        "majority_of_the_bests": {"type": "majority_of_the_bests", "n": n, **EXACT},
        "soft": {"type": "soft", "n": n, "reward_temperature": 0.5},
        "pessimistic": {"type": "pessimistic", "n": n, "beta": 0.25},
        "mbr": {"type": "mbr", "n": n, "beta": 2.0},
        "mbr, consensus alone": {"type": "mbr", "n": n, "beta": None},
        "adaptive": {"type": "adaptive", "n": n},
    }


def split(path: Path, folder: Path) -> dict[str, Path]:
    """The lines of each family in a file of its own, and of all tasks together."""
    family_of = {task: family for family, tasks in FAMILIES.items() for task in tasks}
    lines: dict[str, list[str]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            lines[family_of[json.loads(line)["task"]]].append(line)
            lines["all"].append(line)
    files = {}
    for family, own in lines.items():
        files[family] = folder / f"{family}-{path.stem}"
        files[family].write_text("".join(own), encoding="utf-8")
    return files


def replayed(n: int, permutations: int) -> dict[str, ReplayResults]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pools = split(POOLS / "sft-pool.jsonl.gz", folder)
        greedy = split(POOLS / "sft-greedy.jsonl.gz", folder)
        return {
            family: run(
                ReplaySettings.model_validate(
                    {
                        "pools": (pools[family],),
                        "greedy": greedy[family],
                        "n": n,
                        "permutations": permutations,
                        "strategies": strategies(n),
                    }
                ),
                partial(_tell, family),
            )
            for family in (*FAMILIES, "all")
        }


def _tell(family: str, line: str) -> None:
    print(f"{family}: {line}", flush=True)


def table(found: Mapping[str, ReplayResults]) -> str:
    """Markdown: gold, and behind it the paired difference from best-of-N where it is decided."""
    heads = [f"{family} ({results.prompts})" for family, results in found.items()]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for row in found["all"].rows:
        cells = [_cell(_named(results, row.name)) for results in found.values()]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _named(results: ReplayResults, name: str) -> ReplayRow:
    return next(row for row in results.rows if row.name == name)


def _cell(row: ReplayRow) -> str:
    assert row.gold is not None, "the study's pools have gold"
    minus = None if row.beside is None else row.beside.gold
    return f"{row.gold.value:.3f}{'' if minus is None else _told(minus)}"


def _told(minus: Interval) -> str:
    decided = minus.low > 0 or minus.high < 0
    return f" ({minus.value:+.3f})" if decided else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--permutations", type=int, default=16)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = replayed(arguments.n, arguments.permutations)
    print(table(found))
    if arguments.json is not None:
        golds = {
            family: {row.name: None if row.gold is None else row.gold.value for row in results.rows}
            for family, results in found.items()
        }
        arguments.json.write_text(json.dumps(golds, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
