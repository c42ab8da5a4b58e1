"""What announcing a conversation saves: the time from the last candidate's arrival to its score.

``cold``: the whole group arrives at once and its prompt is new. ``one by one``: the candidates
arrive apart, each scored before the next comes, and the prompt is new to the first of them.
``announced``: the same, and the prompt was announced before. Groups of each kind take turns, all
over HTTP on one reward server.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from load import end_on_sigterm
from overhead import post
from reward_models import Item, Shape, draw_item, reward_server, save_model

SHAPES = (
    Shape("256+64", 256, (64,) * 16),
    Shape("1024+64", 1024, (64,) * 16),
)
WAYS = ("cold", "one by one", "announced")


async def group(
    session: aiohttp.ClientSession, url: str, item: Item, way: str
) -> tuple[float, float, list[float]]:
    """Seconds until the first and the last candidate had their score, and all rewards."""
    if way == "announced":
        await post(session, f"{url}/v1/prefix", {"messages": item.body()["items"][0]["messages"]})
    rewards: list[float] = []
    times: list[float] = []
    parts = [item] if way == "cold" else [replace(item, answers=(a,)) for a in item.answers]
    for part in parts:
        begun = time.perf_counter()
        answer = await post(session, f"{url}/v1/score", part.body())
        times.append(time.perf_counter() - begun)
        rewards += answer["results"][0]["rewards"]
    return times[0], times[-1], rewards


async def measure(url: str, shape: Shape, rounds: int) -> list[dict[str, Any]]:
    rng = random.Random(shape.name)
    first: dict[str, list[float]] = {way: [] for way in WAYS}
    last: dict[str, list[float]] = {way: [] for way in WAYS}
    difference = 0.0
    async with aiohttp.ClientSession() as session:
        for number in range(-1, rounds):
            for way in WAYS:
                item = draw_item(shape, rng, None)
                begun, ended, rewards = await group(session, url, item, way)
                if number < 0:  # the first round warms up
                    continue
                first[way].append(begun)
                last[way].append(ended)
                # The prompt is known by now: this is the group in one call.
                together = await post(session, f"{url}/v1/score", item.body())
                pairs = zip(rewards, together["results"][0]["rewards"], strict=True)
                difference = max(difference, *(abs(a - b) for a, b in pairs))
    cold = statistics.median(last["cold"])
    return [
        {
            "shape": shape.name,
            "way": way,
            "rounds": rounds,
            "first_ms": 1000 * statistics.median(first[way]),
            "last_ms": 1000 * statistics.median(last[way]),
            "shorter": cold / statistics.median(last[way]),
            "difference": difference,
        }
        for way in WAYS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="small,90M", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="one round, tiny model")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.sizes = 1, "tiny"
    end_on_sigterm()
    print(f"{'model':6} {'shape':9} {'way':11} {'first ms':>9} {'last ms':>9} "
          f"{'cold / last':>11} {'max diff':>9}")  # fmt: skip
    results = []
    for size in options.sizes.split(","):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "model"
            save_model(folder, size)
            with reward_server(folder, Path(name) / "server.log") as (url, _):
                for shape in SHAPES:
                    for row in uvloop.run(measure(url, shape, options.rounds)):
                        row["model"] = size
                        print(f"{size:6} {row['shape']:9} {row['way']:11} {row['first_ms']:9.1f} "
                              f"{row['last_ms']:9.1f} {row['shorter']:11.2f} "
                              f"{row['difference']:9.1e}", flush=True)  # fmt: skip
                        results.append(row)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
