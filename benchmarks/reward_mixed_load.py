"""Small groups beside huge ones: how much longer the small ones take, and what a full queue says.

Small groups come one after another at a fixed pace, first alone, then while other clients have
huge groups scored without a pause. The second server never cuts a huge group, so that it shows
what cutting is worth. At last a burst overruns a short queue: what does not fit is answered with
503 and Retry-After, and everything else with its scores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from load import end_on_sigterm
from overhead import JSON, post
from reward_models import Shape, draw_item, reward_server, save_model

CONTEXT = 4352
SMALL = Shape("small", 256, (64,) * 4)
HUGE = Shape("huge", 4096, (128,) * 64)
SMOKE_HUGE = Shape("huge", 1024, (64,) * 16)
APART_S, SMOKE_APART_S = 2.0, 0.2
UNCUT = 1 << 20
BURST = 64


async def small_groups(
    session: aiohttp.ClientSession, url: str, *, count: int, pace_s: float
) -> list[float]:
    """Sorted seconds that each small group took; one begins every ``pace_s``, come what may."""
    rng = random.Random(1)
    items = [draw_item(SMALL, rng, None) for _ in range(count)]
    took: list[float] = []

    async def one(number: int) -> None:
        await asyncio.sleep(number * pace_s)
        begun = time.perf_counter()
        await post(session, f"{url}/v1/score", items[number].body())
        took.append(time.perf_counter() - begun)

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(one(number))
    return sorted(took)


async def huge_groups(
    session: aiohttp.ClientSession, url: str, shape: Shape, seed: int, done: list[float]
) -> None:
    """One after another until it is cancelled."""
    rng = random.Random(seed)
    while True:
        begun = time.perf_counter()
        await post(session, f"{url}/v1/score", draw_item(shape, rng, None).body())
        done.append(time.perf_counter() - begun)


async def measure(
    url: str, shape: Shape, *, count: int, clients: int, load: float, apart_s: float
) -> dict[str, Any]:
    """``load``: the share of the server's time that small groups alone would take, which a few of
    them ``apart_s`` apart tell."""
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await small_groups(session, url, count=3, pace_s=0.0)
        alone = await small_groups(session, url, count=5, pace_s=apart_s)
        pace_s = quantile(alone, 0.5) / load
        alone = await small_groups(session, url, count=count, pace_s=pace_s)
        done: list[float] = []
        huge = [
            asyncio.create_task(huge_groups(session, url, shape, i, done)) for i in range(clients)
        ]
        await asyncio.sleep(4 * pace_s)
        mixed = await small_groups(session, url, count=count, pace_s=pace_s)
        for task in huge:
            task.cancel()
        await asyncio.wait(huge)
    return {
        "groups": count,
        "pace_ms": 1000 * pace_s,
        "alone_p50_ms": 1000 * quantile(alone, 0.5),
        "alone_p95_ms": 1000 * quantile(alone, 0.95),
        "mixed_p50_ms": 1000 * quantile(mixed, 0.5),
        "mixed_p95_ms": 1000 * quantile(mixed, 0.95),
        "p95_to_alone": quantile(mixed, 0.95) / quantile(alone, 0.95),
        "p95_to_alone_p50": quantile(mixed, 0.95) / quantile(alone, 0.5),
        "huge_done": len(done),
    }


def quantile(values: list[float], q: float) -> float:
    return values[min(len(values) - 1, int(q * len(values)))]


async def overrun(url: str) -> dict[str, Any]:
    """Answers by status to many groups at once, and the waits that refusals ask for."""
    rng = random.Random(2)
    statuses: Counter[int] = Counter()
    waits: set[str | None] = set()
    async with aiohttp.ClientSession() as session:

        async def one(body: bytes) -> None:
            async with session.post(f"{url}/v1/score", data=body, headers=JSON) as answer:
                await answer.read()
                statuses[answer.status] += 1
                if answer.status == 503:
                    waits.add(answer.headers.get("retry-after"))

        bodies = [orjson.dumps(draw_item(SMALL, rng, None).body()) for _ in range(BURST)]
        async with asyncio.TaskGroup() as tasks:
            for body in bodies:
                tasks.create_task(one(body))
    assert set(statuses) == {200, 503}, statuses
    assert None not in waits, "a refusal without Retry-After"
    return {"burst": dict(statuses), "retry_after": sorted(str(wait) for wait in waits)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="small")
    parser.add_argument("--count", type=int, default=100, help="small groups of each run")
    parser.add_argument("--clients", type=int, default=2, help="clients with huge groups")
    parser.add_argument("--load", type=float, default=0.25, help="share of small groups")
    parser.add_argument("--ways", default="cut,not cut", help="comma-separated")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="a few groups on a tiny model")
    options = parser.parse_args()
    if options.smoke:
        options.count, options.size = 8, "tiny"
    shape = SMOKE_HUGE if options.smoke else HUGE
    end_on_sigterm()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        save_model(folder, options.size, CONTEXT)
        for way, flags in (
            ("cut", ()),
            ("not cut", ("--slice-tokens", str(UNCUT), "--max-batch-tokens", str(UNCUT))),
        ):
            if way not in options.ways.split(","):
                continue
            with reward_server(folder, Path(name) / "server.log", *flags) as (url, _):
                results[way] = row = uvloop.run(
                    measure(
                        url,
                        shape,
                        count=options.count,
                        clients=options.clients,
                        load=options.load,
                        apart_s=SMOKE_APART_S if options.smoke else APART_S,
                    )
                )
            print(f"huge groups {way}: small groups p50 {row['alone_p50_ms']:.0f} ms, p95 "
                  f"{row['alone_p95_ms']:.0f} ms alone; p50 {row['mixed_p50_ms']:.0f} ms, p95 "
                  f"{row['mixed_p95_ms']:.0f} ms beside huge ones: p95 x {row['p95_to_alone']:.2f} "
                  f"of p95 alone, x {row['p95_to_alone_p50']:.2f} of p50 alone; "
                  f"{row['huge_done']} huge ones done", flush=True)  # fmt: skip
        with reward_server(folder, Path(name) / "s.log", "--max-queue-sequences", "16") as (url, _):
            results["overrun"] = uvloop.run(overrun(url))
    overran = results["overrun"]
    print(f"{BURST} small groups at once on a queue of 16 sequences, by status: "
          f"{overran['burst']}; Retry-After {overran['retry_after']}")  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
