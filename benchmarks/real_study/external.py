"""The reward model on published files that people or programs have judged.

The folder that BON_REAL_DATA names holds them; nothing of them is kept but figures. The right one
of a pair has to stand above the other. Each GSM8K question has four recorded answers; the model
chooses one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from engines import rewards, started
from load import end_on_sigterm

from real_study.estimates import interval_json, resamples_of
from real_study.layout import Layout, step_parser
from real_study.plan import PUBLISHED
from real_study.pools import read_lines
from real_study.scoring import ScoredTexts, ToScore, score_all
from trainers.base.context import RunContext
from trainers.preferences.prepare import run as prepare
from trainers.preferences.settings import PrepareSettings
from trainers.tasks.choosing import position
from trainers.tasks.text import numbers, plain

PAIR_FILES = {"LLMBar": "llmbar.jsonl", "hh-harmless": "hh-harmless-test.jsonl.gz"}
GSM8K = "gsm8k-model-solutions.jsonl"
GSM8K_MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
NAME = "reward"
Score = Callable[[Sequence[ToScore]], list[ScoredTexts | None]]


@dataclass(frozen=True)
class JudgedPair:
    """Two answers, the better one first."""

    messages: Sequence[dict[str, Any]]
    better: str
    worse: str
    subset: str


@dataclass(frozen=True)
class Solved:
    """A question with its recorded answers."""

    question: str
    solutions: Sequence[str]
    right: Sequence[bool]


def pairs_of(folder: Path, name: str, file: str, made: Path, most: int) -> list[JudgedPair]:
    """Those of a published file, by the trainers' own reader; a mixed choice where there are more
    than `most`."""
    settings = PrepareSettings(input=(folder / file,), output=made / name, held_out_share=0)
    prepare(settings, RunContext("real-study", overwrite=True))
    lines = list(read_lines(made / name / "train.jsonl"))
    lines.sort(key=lambda line: position("real-study", json.dumps(line, sort_keys=True)))
    return [
        JudgedPair(
            line["prompt"], line["chosen"][-1]["content"], line["rejected"][-1]["content"],
            line.get("subset") or name,
        )
        for line in lines[:most]
    ]  # fmt: skip


def questions_of(path: Path, most: int) -> list[Solved]:
    lines = sorted(read_lines(path), key=lambda line: position("real-study", line["question"]))
    return [
        Solved(
            line["question"],
            [line[name]["solution"] for name in GSM8K_MODELS],
            [bool(line[name]["is_correct"]) for name in GSM8K_MODELS],
        )
        for line in lines[:most]
    ]


def pair_figures(
    pairs: Sequence[JudgedPair], scored: Mapping[str, Sequence[ScoredTexts | None]]
) -> list[dict[str, Any]]:
    """A row for each subset and one for all, if there are several: each model's accuracy and that
    of the longer answer, with intervals."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        groups[pair.subset].append(place)
    if len(groups) > 1:
        groups["all"] = list(range(len(pairs)))
    rows = []
    for subset, places in groups.items():
        longer = [_above(len(pairs[one].better), len(pairs[one].worse)) for one in places]
        row: dict[str, Any] = {"subset": subset, "pairs": len(places), "longer": _mean(longer)}
        for name, found in scored.items():
            read = [one for place in places if (one := found[place]) is not None]
            right = [_above(one.rewards[0], one.rewards[1]) for one in read]
            row[name] = _mean(right)
            row[f"{name}, not read"] = len(places) - len(read)
            row[f"{name}, prompts cut"] = sum(one.cut for one in read)
        rows.append(row)
    return rows


def question_figures(
    questions: Sequence[Solved], scored: Mapping[str, Sequence[ScoredTexts | None]]
) -> dict[str, Any]:
    """How often the chosen one of the recorded answers is right."""
    ways: dict[str, list[float]] = {
        "random": [fmean(one.right) for one in questions],
        "majority": [_majority(one) for one in questions],
        "longest": [_chosen(one, [len(text) for text in one.solutions]) for one in questions],
        "shortest": [_chosen(one, [-len(text) for text in one.solutions]) for one in questions],
        "oracle": [float(any(one.right)) for one in questions],
    }
    for name, found in scored.items():
        both = zip(questions, found, strict=True)
        # A question that could not be read is answered at random.
        ways[name] = [
            fmean(one.right) if got is None else _chosen(one, got.rewards) for one, got in both
        ]
    models = zip(*(one.right for one in questions), strict=True)
    return {
        "questions": len(questions),
        "ways": {name: _mean(values) for name, values in ways.items()},
        "recorded": {name: fmean(right) for name, right in zip(GSM8K_MODELS, models, strict=True)},
        "not read": {name: sum(one is None for one in found) for name, found in scored.items()},
    }


def _chosen(question: Solved, values: Sequence[float]) -> float:
    """Whether the answer of the highest value is right; equals by their share."""
    best = max(values)
    return fmean(
        right for right, value in zip(question.right, values, strict=True) if value == best
    )


def _majority(question: Solved) -> float:
    """Whether the most frequent result is right; equals by their share."""
    votes: dict[object, list[bool]] = defaultdict(list)
    for text, right in zip(question.solutions, question.right, strict=True):
        found = numbers(plain(text))
        votes[found[-1].value if found else None].append(right)
    most = max(map(len, votes.values()))
    return fmean(fmean(vote) for vote in votes.values() if len(vote) == most)


def _above(one: float, other: float) -> float:
    return 0.5 if one == other else float(one > other)


def _mean(values: Sequence[float]) -> dict[str, float] | None:
    return interval_json(resamples_of(len(values)).mean(values)) if values else None


def measure(folder: Path, layout: Layout, score: Score) -> dict[str, Any]:
    """All files that are there; what is not is named."""
    found: dict[str, Any] = {"pairs": {}, "missing": []}
    sizes = layout.sizes
    for name, file in PAIR_FILES.items():
        if not (folder / file).is_file():
            found["missing"].append(file)
            continue
        pairs = pairs_of(folder, name, file, layout.folder / "published", sizes.pairs)
        items = [ToScore(one.messages, [one.better, one.worse]) for one in pairs]
        found["pairs"][name] = pair_figures(pairs, {NAME: score(items)})
    if (folder / GSM8K).is_file():
        questions = questions_of(folder / GSM8K, sizes.questions)
        asked = [
            ToScore([{"role": "user", "content": one.question}], one.solutions) for one in questions
        ]
        found["gsm8k"] = question_figures(questions, {NAME: score(asked)})
    else:
        found["missing"].append(GSM8K)
    return found


def scorer(url: str) -> Score:
    def score(items: Sequence[ToScore]) -> list[ScoredTexts | None]:
        found: list[ScoredTexts | None] = [None] * len(items)
        count = 0

        def done(place: int, one: ScoredTexts | None) -> None:
            nonlocal count
            found[place] = one
            count += 1
            if count % 100 == 0:
                print(f"{count} of {len(items)}", flush=True)

        asyncio.run(score_all(url, items, done))
        return found

    return score


def main() -> int:
    layout = Layout.of(step_parser(__doc__).parse_args())
    end_on_sigterm()
    with started({NAME: rewards(layout.served("reward"))}, layout.folder) as urls:
        found = measure(Path(os.environ[PUBLISHED]), layout, scorer(urls[NAME]))
    layout.external.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
