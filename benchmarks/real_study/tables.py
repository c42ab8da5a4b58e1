"""The tables of the page, each from `figures.json` alone. Prose is written by hand around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from real_study.layout import POOL_TEMPERATURE, TUNED

Figures = Mapping[str, Any]
NONE = "-"


def number(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def interval(found: Mapping[str, float] | None, digits: int = 3, *, sign: bool = False) -> str:
    """The value and both ends of its interval."""
    if found is None:
        return NONE
    form = f"{'+' if sign else ''}.{digits}f"
    value, low, high = (format(found[key], form) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rows(figures: Figures) -> str:
    """Every way to answer, beside greedy decoding of the fine-tuned policy."""
    head = (
        "way to answer", "accuracy", "beside greedy", "decided", "of the way to the oracle of 8",
        "tokens",
    )  # fmt: skip
    return markdown(
        head,
        [
            [
                name,
                number(row["accuracy"]["value"]),
                interval(row["difference"], sign=True),
                _decided(row),
                interval(row["way"], 2),
                number(row["tokens"], 1),
            ]
            for name, row in figures["rows"].items()
        ],
    )


def _decided(row: Mapping[str, Any]) -> str:
    if row["decided"]:
        return "above" if row["difference"]["value"] > 0 else "below"
    wanted = row["prompts_to_decide"]
    return "no" if wanted is None else f"no; {wanted:,} prompts would"


def curves(figures: Figures) -> str:
    """Accuracy of the best of n by each selector."""
    by_name = figures["curves"]
    sizes = [row["n"] for row in next(iter(by_name.values()))]
    lines = [[name, *(number(row["value"]) for row in curve)] for name, curve in by_name.items()]
    return markdown(["chosen by", *(f"n = {n}" for n in sizes)], lines)


def tasks(figures: Figures) -> str:
    """Accuracy by task."""
    known = figures["by task"][0]
    tuned = [f"{name}, greedy" for name in TUNED if f"{name}, greedy" in known]
    columns = ["base, greedy", "sft, greedy", "random", "best", "oracle", *tuned]
    shown = {
        "random": f"one sample, T {POOL_TEMPERATURE:g}",
        "best": "best of 8",
        "oracle": "oracle of 8",
    }
    head = ["task", "prompts", *(shown.get(name, name) for name in columns)]
    return markdown(
        head,
        [
            [row["task"], str(row["prompts"]), *(number(row[name], 2) for name in columns)]
            for row in figures["by task"]
        ],
    )


def reward_model(figures: Figures) -> str:
    """How often a right answer stands above a wrong one of the same held-out prompt."""
    found = figures["reward model"]
    lines = [[name, interval(one)] for name, one in found.items() if name != "prompts"]
    return markdown(["orders by", f"right, over {found['prompts']} prompts"], lines)


def correlations(figures: Figures) -> str:
    """Within prompts."""
    lines = [
        [name, interval(one["mean"], 2), str(one["prompts"])]
        for name, one in figures["correlations"].items()
    ]
    return markdown(["correlation within a prompt", "mean", "prompts"], lines)


def partial(figures: Figures) -> str:
    """rho(f)."""
    lines = [
        [
            number(row["share"], 2), interval(row["rho"], 2), str(row["prompts"]),
            f"{row['answers']:,}",
        ]
        for row in figures["partial"]
    ]  # fmt: skip
    return markdown(["first share of the tokens", "rho", "prompts", "answers"], lines)


def over_optimisation(figures: Figures) -> str:
    """What is true of the best of n by each model, and what the model says itself."""
    found = figures["over-optimisation"]
    names = list(found)
    head = ["n", *(f"{name}, {what}" for name in names for what in ("accuracy", "own reward"))]
    lines = []
    for place, first in enumerate(found[names[0]]["gold"]):
        cells = [
            number(found[name][key][place]["value"], digits)
            for name in names
            for key, digits in (("gold", 3), ("own", 2))
        ]
        lines.append([str(first["n"]), *cells])
    return markdown(head, lines)


def external(figures: Figures) -> str:
    """Published pairs, and GSM8K's recorded answers."""
    found = figures.get("external")
    if found is None:
        return "The published files were not there."
    lines = [
        [
            name if row["subset"] == name else f"{name}, {row['subset']}", str(row["pairs"]),
            interval(row["reward"], 2), interval(row["longer"], 2),
        ]
        for name, group in found["pairs"].items()
        for row in group
    ]  # fmt: skip
    head = ["pairs", "number", "reward model", "the longer one"]
    parts = [markdown(head, lines)]
    if "gsm8k" in found:
        ways = found["gsm8k"]["ways"]
        parts.append(
            markdown(
                [f"GSM8K, one of four recorded answers ({found['gsm8k']['questions']} questions)",
                 "right"],
                [[name, interval(one)] for name, one in ways.items()],
            )
        )  # fmt: skip
    if found["missing"]:
        parts.append(f"Not there: {', '.join(found['missing'])}.")
    return "\n\n".join(parts)


def cost(figures: Figures) -> str:
    """Seconds of a request that has the machine for itself."""
    lines = [
        [name, number(one["median"], 2), number(one["mean"], 2), str(one["requests"])]
        for name, one in figures["latency"].items()
    ]
    return markdown(["requests", "median, s", "mean, s", "number"], lines)


def steps(figures: Figures) -> str:
    """Minutes that each step took."""
    seconds = figures["seconds"]
    lines = [[name, number(one / 60, 1)] for name, one in seconds.items()]
    total = ["all", number(sum(seconds.values()) / 60, 1)]
    return markdown(["step", "minutes"], [*lines, total])


SECTIONS: Mapping[str, tuple[str, Callable[[Figures], str]]] = {
    "rows": ("Ways to answer", rows),
    "curves": ("Best of n", curves),
    "tasks": ("By task", tasks),
    "reward-model": ("The reward model on held-out prompts", reward_model),
    "correlations": ("What goes with what", correlations),
    "partial": ("Rewards of unfinished answers", partial),
    "over-optimisation": ("Over-optimisation", over_optimisation),
    "external": ("The reward model elsewhere", external),
    "cost": ("Latency", cost),
    "steps": ("What the study took", steps),
}
"""By the names of their marks: heading and table."""
