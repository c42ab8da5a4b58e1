"""The page of a demo run: figures as tables, with the goals they must meet, and the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from trainers.demo.outcome import Figures, goals
from trainers.demo.overoptimised import hacked
from trainers.demo.plots import draw_pictures

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


def write_page(
    seeds: Sequence[Figures], title: str, command: str, page: Path, pictures: Path, notes: str
) -> None:
    """Write `page` (Markdown) and its pictures into the folder `pictures` beside or below it."""
    names = draw_pictures(seeds, pictures)
    place = pictures.relative_to(page.parent).as_posix()
    lines = [f"# {title}", "", f"Made by `{command}`. {notes}", ""]
    lines += ["## Goals", "", *_goal_table(seeds), ""]
    lines += ["## Policies on held-out prompts", "", *_policy_table(seeds), ""]
    head = ("n", "gold, best by the reward model", "best by gold")
    curves = [figures["reward-quality"]["curve"] for figures in seeds]
    lines += ["## Best of n", "", *_table(head, _curve_rows(curves, "gold", "oracle")), ""]
    lines += ["## Reward model", "", *_quality_table(seeds), ""]
    if "weak-reward-quality" in seeds[0]:
        lines += ["## Over-optimisation on purpose", "", *_over_optimisation(seeds), ""]
    lines += ["## Pictures", ""]
    for name in names:
        lines += [f"![{CAPTIONS[name]}]({place}/{name})", "", CAPTIONS[name], ""]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines), encoding="utf-8")


def _spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean, and the standard deviation over seeds where there are several."""
    text = f"{fmean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {stdev(values):.{digits}f}"


def _goal_table(seeds: Sequence[Figures]) -> list[str]:
    rows = []
    for same in zip(*(goals(figures) for figures in seeds), strict=True):
        first = same[0]
        met = sum(goal.met for goal in same)
        wanted = f"{'at most' if first.at_most else 'at least'} {first.bound:g}"
        measured = _spread([goal.value for goal in same], 3)
        rows.append((first.text, wanted, measured, f"{met} of {len(same)}"))
    return _table(("goal", "wanted", "measured", "seeds that meet it"), rows)


def _policy_table(seeds: Sequence[Figures]) -> list[str]:
    names = {
        "judge-sft": "SFT",
        "judge-dpo": "DPO",
        "judge-ppo": "PPO",
        "judge-hacked-ppo": "PPO without KL, weak reward model",
    }
    digits = {"gold": 2, "kl": 2, "tokens": 1, "eos_rate": 3}
    head = ("policy", "gold", "KL to SFT, nats", "tokens", "answers that end")
    return _table(head, _rows_of(seeds, names, digits))


def _quality_table(seeds: Sequence[Figures]) -> list[str]:
    names = {"reward-quality": "full", "weak-reward-quality": "weak"}
    digits = {"accuracy": 3, "accuracy_wide_gap": 3, "calibration_error": 3}
    head = ("reward model", "accuracy on gold pairs", "gold gap at least 1", "calibration error")
    return _table(head, _rows_of(seeds, names, digits))


def _rows_of(
    seeds: Sequence[Figures], names: Mapping[str, str], digits: Mapping[str, int]
) -> list[list[str]]:
    """A row for each step that was run, by the text of its name, with these of its figures."""
    return [
        [text, *(_spread([one[name][key] for one in seeds], n) for key, n in digits.items())]
        for name, text in names.items()
        if name in seeds[0]
    ]


def _curve_rows(curves: Sequence[Sequence[Mapping[str, float]]], *keys: str) -> list[list[str]]:
    """A row for each n with these figures of the best of n; all curves have the same n."""
    return [
        [f"{same[0]['n']:.0f}", *(_spread([row[key] for row in same]) for key in keys)]
        for same in zip(*curves, strict=True)
    ]


def _over_optimisation(seeds: Sequence[Figures]) -> list[str]:
    weak = [figures["weak-reward-quality"]["curve"] for figures in seeds]
    head = ("n", "gold, best by the weak reward model", "its own score")
    lines = _table(head, _curve_rows(weak, "gold", "reward"))
    stories = [hacked(figures["hacked-ppo-history"]) for figures in seeds]
    runs = [
        {
            "run": f"{number}",
            "gold at its peak": f"{one.peak:.2f} (iteration {one.peak_at})",
            "gold at the end": f"{one.end:.2f}",
            "reward, first and last": f"{one.reward_first:.2f}, {one.reward_last:.2f}",
            "answers that end, last": f"{one.eos_last:.2f}",
            "first alarm": one.alarm_text,
            "gold has lost 10 % of its peak": one.loss_text,
        }
        for number, one in enumerate(stories, 1)
    ]
    turned = sum(curve[-1]["gold"] < max(row["gold"] for row in curve) for curve in weak)
    lost = [story for story in stories if story.lost_at is not None]
    summary = (
        f"Best-of-{int(weak[0][-1]['n'])} by the weak reward model has less gold than a smaller n "
        f"in {turned} of {len(weak)} runs. PPO against it lost a tenth of its peak gold in "
        f"{len(lost)} of {len(stories)}; an alarm came before that in "
        f"{sum(story.in_time for story in lost)} of these {len(lost)}."
    )
    return [summary, "", *lines, "", *_table(list(runs[0]), [list(run.values()) for run in runs])]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def headline(figures: Figures) -> Mapping[str, float]:
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
