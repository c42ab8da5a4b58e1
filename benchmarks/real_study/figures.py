"""All figures of a study, computed from its pools: `figures.json`, and the pools beside it.

Prompts that one arm lacks are left out of all of them, so that every difference is paired.
"""

from __future__ import annotations

import json
import math
import platform
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from real_study import estimates as est
from real_study.estimates import Selector
from real_study.layout import (
    CHECKPOINTS,
    CURVE,
    LARGE,
    SHARES,
    TUNED,
    WEAK,
    Layout,
    checkpoint_name,
    partial_name,
    step_parser,
)
from real_study.pools import Drawn, Line, Pool, pool_of, read_lines, write_lines
from real_study.run import read_mark

BASE_ROW = "sft, greedy"
"""What all others are compared with."""
WAY_OF = 8
"""The way to go is that to the oracle of so many samples of the SFT policy."""
SELECTORS: Mapping[str, Selector] = {
    "reward model": est.usable(est.by_reward),
    "mean log-probability": est.usable(est.by_logprob),
    "weak reward model": est.usable(est.by_other(WEAK)),
    "longest": est.usable(est.by_length),
    "random": est.at_random,
    "oracle": est.by_gold,
}
Pools = Mapping[str, Sequence[Pool]]
"""Of each arm, by its name; all have the same prompts in the same order."""


def with_rewards(lines: Sequence[Line], rescored: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """The lines, with other models' rewards beside each candidate, and with the rewards of its
    beginnings at `CHECKPOINTS`."""
    return [
        {
            **line,
            "candidates": [
                {**one, **_rewards(one, rescored.get(line["messages"][-1]["content"], {}))}
                for one in line["candidates"]
            ],
        }
        for line in lines
    ]


def _rewards(candidate: Line, by_name: Mapping[str, Mapping[str, float]]) -> Line:
    text = (candidate["message"] or {}).get("content") or ""
    known = {name: found[text] for name, found in by_name.items() if text in found}
    # Its last token ends the answer, so an answer of 4 tokens is complete at the third.
    partial = [
        (tokens, known.pop(checkpoint_name(tokens), None))
        for tokens in CHECKPOINTS
        if checkpoint_name(tokens) in known
    ]
    kept = [[tokens, reward] for tokens, reward in partial if tokens < candidate["tokens"]]
    return {"rewards": known, **({"partial_rewards": kept} if kept else {})}


def same_prompts(pools: Pools) -> dict[str, list[Pool]]:
    """The prompts that every arm has."""
    common = set.intersection(*({one.prompt for one in found} for found in pools.values()))
    return {name: [one for one in found if one.prompt in common] for name, found in pools.items()}


def sizes_of(pools: Sequence[Pool]) -> list[int]:
    """The n of a curve: as many as the smallest pool has."""
    least = min(len(pool.drawn) for pool in pools)
    return [n for n in CURVE if n <= least]


def curve(pools: Sequence[Pool], selector: Selector, value: Selector = est.by_gold) -> list[Any]:
    """The expected `value` of the best of n by `selector`, with its interval."""
    resamples = est.resamples_of(len(pools))
    rows = []
    for n in sizes_of(pools):
        values = [est.chosen(pool, selector, value, n) for pool in pools]
        rows.append({"n": n, **(est.interval_json(resamples.mean(values)) or {})})
    return rows


def tuned_of(pools: Pools) -> list[str]:
    """The tuned policies that were measured."""
    return [name for name in TUNED if f"{name}-greedy" in pools]


def rows_of(pools: Pools) -> dict[str, est.Row]:
    """Every row of the large table, by its name."""
    rows = {}
    tuned = tuned_of(pools)
    for arm, name in (
        ("base-greedy", "base, greedy"),
        ("sft-greedy", BASE_ROW),
        ("sft-t0.7", "sft, one sample, T 0.7"),
        ("sft-t1", "sft, one sample, T 1"),
        *((f"{one}-greedy", f"{one}, greedy") for one in tuned),
        *((f"{one}-t0.7", f"{one}, one sample, T 0.7") for one in tuned),
    ):
        answers = [pool.answer for pool in pools[arm]]
        rows[name] = est.Row([one.gold for one in answers], fmean(one.tokens for one in answers))
    for policy in ("sft", *tuned):
        found = pools[f"{policy}-pool"]
        for n in sizes_of(found):
            tokens = n * fmean(fmean(one.tokens for one in pool.drawn) for pool in found)
            for name, selector in SELECTORS.items():
                if _is_row(policy, name, n, sizes_of(found)):
                    values = [est.chosen(pool, selector, est.by_gold, n) for pool in found]
                    rows[f"{policy}, best of {n} by {name}"] = est.Row(values, tokens)
    rows["sft, majority of all"] = est.Row(
        [est.majority(pool) for pool in pools[LARGE]],
        fmean(sum(one.tokens for one in pool.drawn) for pool in pools[LARGE]),
    )
    return rows


def _is_row(policy: str, selector: str, n: int, sizes: Sequence[int]) -> bool:
    """The SFT policy has all by the reward model; the rest has what makes it comparable."""
    if selector == "weak reward model":
        return policy == "sft" and n == sizes[-1]
    if selector == "random":
        return n == sizes[-1] and policy != "sft"
    if policy == "sft":
        return n > 1 and (selector == "reward model" or n in {min(WAY_OF, sizes[-1]), sizes[-1]})
    return n == sizes[-1] and selector in {"reward model", "oracle", "mean log-probability"}


def table(rows: Mapping[str, est.Row], pools: Sequence[Pool]) -> dict[str, Any]:
    """Every row beside greedy decoding of the SFT policy."""
    base = rows[BASE_ROW].values
    n = min(WAY_OF, sizes_of(pools)[-1])
    best = [est.oracle(pool, n) for pool in pools]
    resamples = est.resamples_of(len(base))
    return {
        name: {
            **est.compared_json(est.compared(row.values, base, best, resamples)),
            "tokens": row.tokens,
        }
        for name, row in rows.items()
    }


def by_task(pools: Pools) -> list[dict[str, Any]]:
    """Accuracy of each task: greedy, one sample, best of `WAY_OF`, oracle."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, pool in enumerate(pools[LARGE]):
        groups[pool.task].append(place)
    n = min(WAY_OF, sizes_of(pools[LARGE])[-1])
    rows = []
    for task, places in sorted(groups.items()):
        of_task = [pools[LARGE][place] for place in places]
        chosen = [est.chosen(pool, SELECTORS["reward model"], est.by_gold, n) for pool in of_task]
        rows.append(
            {
                "task": task,
                "prompts": len(places),
                "base, greedy": fmean(pools["base-greedy"][p].answer.gold for p in places),
                "sft, greedy": fmean(pools["sft-greedy"][p].answer.gold for p in places),
                "random": fmean(fmean(pool.golds) for pool in of_task),
                "best": fmean(chosen),
                "oracle": fmean(est.oracle(pool, n) for pool in of_task),
                **{
                    f"{one}, greedy": fmean(pools[f"{one}-greedy"][p].answer.gold for p in places)
                    for one in tuned_of(pools)
                },
            }
        )
    return rows


def reward_model(pools: Sequence[Pool]) -> dict[str, Any]:
    """How often each way orders a right and a wrong answer of one prompt rightly."""
    ways = {
        name: SELECTORS[name]
        for name in ("reward model", "weak reward model", "mean log-probability", "longest")
    }
    found: dict[str, Any] = {}
    for name, selector in ways.items():
        values = est.pair_accuracies(pools, selector)
        found[name] = est.interval_json(est.share_of(values))
        found["prompts"] = len(values)
    return found


def correlations(pools: Sequence[Pool]) -> dict[str, Any]:
    """Within prompts: reward and length, gold and length, reward and gold."""
    columns: dict[str, Selector] = {
        "reward": est.by_reward,
        "length": est.by_length,
        "gold": est.by_gold,
        "log-probability": est.by_logprob,
        "weak reward": est.by_other(WEAK),
    }
    wanted = (
        ("reward", "length"), ("gold", "length"), ("reward", "gold"), ("weak reward", "gold"),
        ("reward", "log-probability"),
    )  # fmt: skip
    found = {}
    for left, right in wanted:
        values = est.within_prompts(
            [
                (
                    [columns[left](one) for one in pool.drawn if one.finished],
                    [columns[right](one) for one in pool.drawn if one.finished],
                )
                for pool in pools
            ]
        )
        mean = est.interval_json(est.share_of(values))
        found[f"{left} and {right}"] = {"mean": mean, "prompts": len(values)}
    return found


def partial_rewards(pools: Sequence[Pool]) -> list[dict[str, Any]]:
    """rho(f): the correlation, within prompts, of the reward of the first share of an answer with
    the reward of the whole answer."""
    rows = []
    for share in SHARES:
        name = partial_name(share)
        both = []
        for pool in pools:
            known = [one for one in pool.drawn if one.finished and name in one.others]
            both.append(([one.others[name] for one in known], [est.by_reward(o) for o in known]))
        values = est.within_prompts(both)
        mean = est.interval_json(est.share_of(values))
        answers = sum(len(left) for left, _ in both)
        rows.append({"share": share, "rho": mean, "prompts": len(values), "answers": answers})
    return rows


def over_optimisation(pools: Sequence[Pool]) -> dict[str, Any]:
    """What is true, and what each reward model says itself, of the best of n by it."""

    def own(name: str) -> Selector:
        return est.by_reward if name == "reward model" else est.by_other(WEAK)

    return {
        name: {
            "gold": curve(pools, SELECTORS[name]),
            "own": curve(pools, SELECTORS[name], own(name)),
        }
        for name in ("reward model", "weak reward model")
    }


def latencies(lines: Sequence[Line], pools: Mapping[str, Sequence[Line]]) -> dict[str, Any]:
    """Seconds of each arm's requests that had the machine for themselves."""
    ids = {one["request_id"]: arm for arm, found in pools.items() for one in found}
    seconds: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        if line["alone"] and line["id"] in ids:
            seconds[ids[line["id"]]].append(line["seconds"])
    return {
        arm: {"requests": len(found), "median": median(found), "mean": fmean(found)}
        for arm, found in seconds.items()
    }


def agreement(pools: Sequence[Pool]) -> dict[str, int]:
    """How often the gateway answered with the candidate of the highest reward, of equal ones the
    first: what all that is computed from pools rests on."""
    selector = SELECTORS["reward model"]

    def first_best(drawn: Sequence[Drawn]) -> int:
        return max(range(len(drawn)), key=lambda place: (selector(drawn[place]), -place))

    same = sum(first_best(pool.drawn) == pool.winner for pool in pools)
    return {"requests": len(pools), "same": same}


def all_figures(
    pools: Pools, lines: Mapping[str, Sequence[Line]], times: Sequence[Line]
) -> dict[str, Any]:
    large = pools[LARGE]
    return {
        "prompts": len(large),
        "left out": {name: len(found) - len(large) for name, found in lines.items()},
        "rows": table(rows_of(pools), large),
        "curves": {name: curve(large, selector) for name, selector in SELECTORS.items()},
        "by task": by_task(pools),
        "reward model": reward_model(large),
        "correlations": correlations(large),
        "partial": partial_rewards(large),
        "over-optimisation": over_optimisation(large),
        "latency": latencies(times, lines),
        "agreement": agreement(large),
        "truncated": fmean(fmean(not one.finished for one in pool.drawn) for pool in large),
        "distinct": fmean(len({one.text for one in pool.drawn}) for pool in large),
    }


def seconds_of(layout: Layout) -> dict[str, float]:
    """What each step took."""
    found = {}
    for path in sorted((layout.folder / "steps").glob("*.json")):
        mark = read_mark(path)
        if mark is not None and mark.finished:
            found[path.stem] = round(mark.seconds, 1)
    return found


def finite(value: Any) -> Any:
    """JSON knows no infinities; none of these figures is one unless something is wrong."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a figure is not finite")
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list) else value


def main() -> int:
    layout = Layout.of(step_parser(__doc__).parse_args())
    arms = [arm.name for arm in layout.sizes.arms() if layout.pool(arm.name).exists()]
    lines = {name: list(read_lines(layout.pool(name))) for name in arms}
    rescored = {line["prompt"]: line["rewards"] for line in read_lines(layout.rescored)}
    lines[LARGE] = with_rewards(lines[LARGE], rescored)
    pools = same_prompts({name: [pool_of(one) for one in found] for name, found in lines.items()})
    figures = all_figures(pools, lines, list(read_lines(layout.times)))
    if layout.external.exists():
        figures["external"] = json.loads(layout.external.read_text(encoding="utf-8"))
    figures["seconds"] = seconds_of(layout)
    figures["machine"] = platform.machine()
    layout.kept.mkdir(parents=True, exist_ok=True)
    text = json.dumps(finite(figures), indent=1, ensure_ascii=False)
    layout.figures.write_text(text + "\n", encoding="utf-8")
    for name, found in lines.items():
        write_lines(layout.kept / "pools" / f"{name}.jsonl.gz", found)
    print(f"{figures['prompts']} prompts; {layout.figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
