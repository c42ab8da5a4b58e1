"""Whether a reward server's memory stays bounded: its resident size over many requests.

Every request has a new prompt, so that kept prompts fill their cache and push each other out; some
are announced, some clients leave before they are answered, some requests are refused. The first
tenth of the requests fills what may be filled; how much the rest adds is the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import tempfile
from pathlib import Path

import aiohttp
import orjson
import psutil
import uvloop
from load import end_on_sigterm
from overhead import JSON
from reward_models import Shape, draw_item, reward_server, save_model

SHAPE = Shape("varied", 256, (8, 16, 32, 64))
CLIENTS = 8
MEGABYTE = 1024 * 1024


async def run(url: str, pid: int, requests: int) -> list[tuple[int, float]]:
    """Requests so far and the server's resident MiB, twenty times."""
    numbers = iter(range(requests))
    seen: list[tuple[int, float]] = []
    process = psutil.Process(pid)
    every = max(requests // 20, 1)

    async def client(session: aiohttp.ClientSession, seed: int) -> None:
        rng = random.Random(seed)
        for number in numbers:
            await one(session, url, rng, number)
            if number % every == every - 1:
                seen.append((number + 1, process.memory_info().rss / MEGABYTE))

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        for seed in range(CLIENTS):
            tasks.create_task(client(session, seed))
    return sorted(seen)


async def one(session: aiohttp.ClientSession, url: str, rng: random.Random, number: int) -> None:
    item = draw_item(SHAPE, rng, None)
    body = item.body()
    if number % 5 == 0:
        announcement = {"messages": body["items"][0]["messages"]}
        await send(session, f"{url}/v1/prefix", announcement)
    if number % 7 == 0:
        body["items"][0]["messages"] = []  # refused
    # An impatient client leaves after a few milliseconds.
    patience = 0.003 if number % 11 == 0 else 60
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await send(session, f"{url}/v1/score", body)


async def send(session: aiohttp.ClientSession, url: str, body: dict[str, object]) -> None:
    async with session.post(url, data=orjson.dumps(body), headers=JSON) as answer:
        await answer.read()
        if answer.status not in (200, 400, 503):
            raise RuntimeError(f"{url} answered {answer.status}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--cache-mb", type=float, default=32)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="200 requests")
    options = parser.parse_args()
    if options.smoke:
        options.requests = 200
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        save_model(folder, "tiny")
        flags = ("--prefix-cache-mb", str(options.cache_mb))
        with reward_server(folder, Path(name) / "server.log", *flags) as (url, pid):
            seen = uvloop.run(run(url, pid, options.requests))
    for number, size in seen:
        print(f"{number:7} requests {size:8.1f} MiB")
    settled = next(size for number, size in seen if number >= options.requests / 10)
    most = max(size for number, size in seen if number >= options.requests / 10)
    print(
        f"from {settled:.1f} MiB after a tenth to {most:.1f} MiB at most: +{most - settled:.1f} MiB"
    )
    if options.json is not None:
        options.json.write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
