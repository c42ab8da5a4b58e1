"""The page of a demo run: figures as tables, with the goals they must meet, and the pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from trainers.demo.outcome import Figures, goals, gold_at
from trainers.demo.overoptimised import Hacked, hacked
from trainers.demo.plots import draw_all

CAPTIONS = {
    "accuracy.svg": "Pairs of held-out prompts, by their gold gap. The dashed line is how often a "
    "label of the training data is right there: labels are noisy, the model averages them.",
    "calibration.svg": "sigmoid(reward difference) against sigmoid(gold difference).",
    "best-of-n.svg": "Answers of the SFT policy to held-out prompts; unbiased estimates for each n "
    "from the same answers.",
    "gold-by-kl.svg": "Gold reward against the distance from the SFT policy. For best-of-n it is "
    "the bound ln n - (n - 1)/n; the small numbers are n.",
    "ppo-curves.svg": "PPO, by iteration. `kl to reference` is to the frozen SFT policy, `kl to "
    "old policy` to the one that sampled the iteration's answers: the clip holds the second, the "
    "penalty the first.",
    "over-optimised-best-of-n.svg": "The same answers, chosen by a reward model of few pairs. Its "
    "own score (right, each scaled to its range) goes on rising with n, the truth does not.",
    "reward-hacking.svg": "PPO against the weak reward model without KL and without a penalty for "
    "endless answers, one picture a seed.",
}


def write_report(
    seeds: Sequence[Figures], title: str, command: str, page: Path, pictures: Path, notes: str
) -> None:
    """Write `page` (Markdown) and its pictures into the folder `pictures` beside or below it."""
    names = draw_all(seeds, pictures)
    place = pictures.relative_to(page.parent).as_posix()
    lines = [f"# {title}", "", f"Made by `{command}`. {notes}", ""]
    lines += ["## Goals", "", *_goal_table(seeds), ""]
    lines += ["## Policies on held-out prompts", "", *_policy_table(seeds), ""]
    lines += ["## Best of n", "", *_curve_table(seeds, "reward-quality"), ""]
    lines += ["## Reward model", "", *_quality_table(seeds), ""]
    if "weak-reward-quality" in seeds[0]:
        lines += ["## Over-optimisation on purpose", "", *_over_optimisation(seeds), ""]
    lines += ["## Pictures", ""]
    for name in names:
        lines += [f"![{CAPTIONS[name]}]({place}/{name})", "", CAPTIONS[name], ""]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines), encoding="utf-8")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean, and the standard deviation over seeds where there are several."""
    text = f"{fmean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {stdev(values):.{digits}f}"


def _goal_table(seeds: Sequence[Figures]) -> list[str]:
    rows = []
    for same in zip(*(goals(figures) for figures in seeds), strict=True):
        first = same[0]
        met = sum(goal.met for goal in same)
        wanted = f"{'at most' if first.at_most else 'at least'} {first.bound:g}"
        measured = spread([goal.value for goal in same], 3)
        rows.append((first.text, wanted, measured, f"{met} of {len(same)}"))
    return _table(("goal", "wanted", "measured", "seeds that meet it"), rows)


def _policy_table(seeds: Sequence[Figures]) -> list[str]:
    def row(text: str, name: str) -> tuple[str, ...]:
        ends = [figures[name] for figures in seeds]
        return (
            text,
            spread([one["gold"] for one in ends]),
            spread([one["kl"] for one in ends]),
            spread([one["tokens"] for one in ends], 1),
            spread([one["eos_rate"] for one in ends], 3),
        )

    rows = [row(name.upper(), f"judge-{name}") for name in ("sft", "dpo", "ppo")]
    if "judge-hacked-ppo" in seeds[0]:
        rows.append(row("PPO without KL, weak reward model", "judge-hacked-ppo"))
    head = ("policy", "gold", "KL to SFT, nats", "tokens", "answers that end")
    return _table(head, rows)


def _curve_table(seeds: Sequence[Figures], name: str) -> list[str]:
    curves = [figures[name]["curve"] for figures in seeds]
    rows = []
    for n in (int(row["n"]) for row in curves[0]):
        oracle = [next(r["oracle"] for r in curve if r["n"] == n) for curve in curves]
        rows.append((f"{n}", spread([gold_at(curve, n) for curve in curves]), spread(oracle)))
    return _table(("n", "gold, best by the reward model", "best by gold"), rows)


def _quality_table(seeds: Sequence[Figures]) -> list[str]:
    kinds = {"reward-quality": "full", "weak-reward-quality": "weak"}
    rows = []
    for name, text in kinds.items():
        if name in seeds[0]:
            found = [figures[name] for figures in seeds]
            keys = ("accuracy", "accuracy_wide_gap", "calibration_error")
            rows.append((text, *(spread([one[key] for one in found], 3) for key in keys)))
    head = ("reward model", "accuracy on gold pairs", "gold gap at least 1", "calibration error")
    return _table(head, rows)


def _over_optimisation(seeds: Sequence[Figures]) -> list[str]:
    weak = [figures["weak-reward-quality"]["curve"] for figures in seeds]
    rows = []
    for n in (int(row["n"]) for row in weak[0]):
        own = [next(r["reward"] for r in curve if r["n"] == n) for curve in weak]
        rows.append((f"{n}", spread([gold_at(curve, n) for curve in weak]), spread(own)))
    lines = _table(("n", "gold, best by the weak reward model", "its own score"), rows)
    stories = [hacked(figures["hacked-ppo-history"]) for figures in seeds]
    columns: list[tuple[str, Callable[[Hacked], Any]]] = [
        ("gold at its peak", lambda one: f"{one.peak:.2f} (iteration {one.peak_at})"),
        ("gold at the end", lambda one: f"{one.end:.2f}"),
        ("reward, first and last", lambda one: f"{one.reward_first:.2f}, {one.reward_last:.2f}"),
        ("answers that end, last", lambda one: f"{one.eos_last:.2f}"),
        ("first alarm", lambda one: one.alarm_text),
        ("gold has lost 10 % of its peak", lambda one: one.loss_text),
    ]
    table = [
        (f"{index + 1}", *(str(read(one)) for _, read in columns))
        for index, one in enumerate(stories)
    ]
    turned = sum(curve[-1]["gold"] < max(row["gold"] for row in curve) for curve in weak)
    lost = [story for story in stories if story.lost_at is not None]
    summary = (
        f"Best-of-{int(weak[0][-1]['n'])} by the weak reward model has less gold than a smaller n "
        f"in {turned} of {len(weak)} runs. PPO against it lost a tenth of its peak gold in "
        f"{len(lost)} of {len(stories)}; an alarm came before that in "
        f"{sum(story.in_time for story in lost)} of these {len(lost)}."
    )
    return [summary, "", *lines, "", *_table(("run", *(name for name, _ in columns)), table)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def flat(figures: Figures) -> Mapping[str, float]:
    """The figures that the command prints at its end."""
    quality = figures["reward-quality"]
    found: dict[str, float] = {
        "reward model accuracy on gold pairs": quality["accuracy"],
        "the same where the gold gap is at least 1": quality["accuracy_wide_gap"],
    }
    for row in quality["curve"]:
        found[f"gold, best of {int(row['n'])}"] = row["gold"]
    for name in ("sft", "dpo", "ppo"):
        found[f"gold, {name}"] = figures[f"judge-{name}"]["gold"]
        found[f"KL to SFT, {name}"] = figures[f"judge-{name}"]["kl"]
    return found
