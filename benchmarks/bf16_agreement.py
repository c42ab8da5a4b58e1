"""Whether a reward model in another precision chooses the same answers, and what it costs.

Each prompt's answers are scored in float32 and in the other precision, as the reward server scores
them. Reported over the prompts: how often both choose the same answer, the mean rank correlation
(Spearman) of their rewards, and the median over rounds of the time beside float32's. A CPU that
cannot multiply in bfloat16 (one with AVX2 alone) converts every number, and is slower.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from reward_partial import rank_correlation

from bon_gateway import demo_models
from reward_server.model_settings import ModelSettings
from reward_server.schema import ScoreItem
from reward_server.scoring.scorer import Scorer
from trainers.demo.world import draw_answer, draw_request

FLOAT = "float32"


def items_of(path: Path, limit: int) -> list[ScoreItem]:
    """From the lines of `bon-train collect`, or of any file of prompts with their candidates."""
    lines = path.read_text("utf-8").splitlines()[:limit]
    return [_item(json.loads(line)) for line in lines if line.strip()]


def _item(line: dict[str, Any]) -> ScoreItem:
    prompt = line["prompt"]
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    answers = [one["answer"] for one in line["candidates"]]
    return ScoreItem(
        messages=asked,
        completions=[text if isinstance(text, str) else text[-1]["content"] for text in answers],
    )


def demo_items(count: int, n: int) -> list[ScoreItem]:
    """Requests of the demo world, with answers of every quality."""
    rng = random.Random(0)
    requests = [draw_request(rng) for _ in range(count)]
    return [
        ScoreItem(
            messages=[{"role": "user", "content": request.text}],
            completions=[draw_answer(rng, request) for _ in range(n)],
        )
        for request in requests
    ]


async def scored(scorer: Scorer, items: Sequence[ScoreItem]) -> tuple[list[list[float]], float]:
    """The rewards of each item's answers, and the seconds that it took, one item at a time."""
    rewards = []
    started = time.perf_counter()
    for item in items:
        response = await scorer.score([item])
        rewards.append(list(response.results[0].rewards))
    return rewards, time.perf_counter() - started


async def measure(
    model: str, dtype: str, items: Sequence[ScoreItem], rounds: int, threads: int
) -> dict[str, Any]:
    scorers = {
        name: Scorer.load(
            # What is kept of prompts would make the later rounds free.
            ModelSettings(model=model, device="cpu", dtype=name, threads=threads, prefix_cache_mb=0)
        )
        for name in (FLOAT, dtype)
    }
    for scorer in scorers.values():
        await scorer.start()
        await scorer.warm_up()
    ratios = []
    for number in range(rounds):
        found: dict[str, list[list[float]]] = {}
        seconds: dict[str, float] = {}
        for name in (FLOAT, dtype) if number % 2 else (dtype, FLOAT):
            found[name], seconds[name] = await scored(scorers[name], items)
        ratios.append(seconds[dtype] / seconds[FLOAT])
    for scorer in scorers.values():
        await scorer.close()
    return {
        "dtype": dtype,
        "prompts": len(items),
        "answers": sum(len(item.completions) for item in items),
        **agreement(found[FLOAT], found[dtype]),
        "time ratio": statistics.median(ratios),
        "rounds": rounds,
        "threads": threads,
    }


def agreement(before: Sequence[list[float]], after: Sequence[list[float]]) -> dict[str, float]:
    """A prompt whose rewards are all equal has no order: it counts for the winner alone."""
    pairs = list(zip(before, after, strict=True))
    same = [one.index(max(one)) == other.index(max(other)) for one, other in pairs]
    known = [found for pair in pairs if (found := rank_correlation(*pair)) is not None]
    gaps = [abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True)]
    return {
        "same winner": statistics.fmean(same),
        "rank correlation": statistics.fmean(known) if known else 1.0,
        "largest difference": max(gaps),
        "spread of rewards": statistics.pstdev([reward for one in before for reward in one]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(demo_models.reward_path()))
    parser.add_argument(
        "--candidates", type=Path, metavar="FILE",
        help="lines of bon-train collect; without it prompts of the demo world",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, default=200, help="prompts")
    parser.add_argument("--n", type=int, default=8, help="answers to a prompt of the demo world")
    parser.add_argument("--dtype", choices=("bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="eight prompts, one round")
    options = parser.parse_args()
    if options.smoke:
        options.limit, options.rounds = 8, 1
    if options.candidates is None:
        items = demo_items(options.limit, options.n)
    else:
        items = items_of(options.candidates, options.limit)
    torch.set_num_threads(options.threads)
    figures = asyncio.run(
        measure(options.model, options.dtype, items, options.rounds, options.threads)
    )
    for name, value in figures.items():
        print(f"{name:20} {value:.4g}" if isinstance(value, float) else f"{name:20} {value}")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
