"""What the gateway adds: CPU per request and throughput over a fake upstream, beside a bare
client that makes the same upstream calls by itself.

Gateway and bare client run in turns, several rounds of each, against the same upstream process;
ratios are those of one round and the median over the rounds is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import socket
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
import uvloop
import yaml
from load import Load, end_on_sigterm, fake_upstream, gateway, run_load

MESSAGES = [{"role": "user", "content": "Name three toys for a bear, please. " * 8}]
TOKENS = 32
JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    n: int
    fan_out: str
    clients: int
    delay_ms: float


CASES = (
    Case("separate", 4, "separate", 1, 0),
    Case("separate, 64 clients", 4, "separate", 64, 0),
    Case("together", 4, "together", 1, 0),
    Case("together, 64 clients", 4, "together", 64, 0),
    Case("separate, 64 clients, 500 ms upstream", 8, "separate", 64, 500),
    Case("together, 64 clients, 500 ms upstream", 8, "together", 64, 500),
)


def settings(upstream: str, case: Case) -> dict[str, Any]:
    return {
        "policies": {
            "p": {"type": "vllm", "urls": [upstream], "model": "fake", "fan_out": case.fan_out}
        },
        "rewards": {"r": {"type": "reward_server", "urls": [upstream]}},
        "models": {
            "m": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": case.n}}
        },
    }


async def post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> Any:
    async with session.post(url, data=orjson.dumps(body), headers=JSON) as answer:
        data = await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {data[:200]!r}")
        return orjson.loads(data)


def through_gateway(
    session: aiohttp.ClientSession, url: str, case: Case
) -> Callable[[int], Awaitable[None]]:
    async def once(number: int) -> None:
        body = {"model": "m", "messages": MESSAGES, "seed": number}
        answer = await post(session, f"{url}/v1/chat/completions", body)
        if len(answer["bon"]["candidates"]) != case.n or answer["bon"]["reward"] is None:
            raise RuntimeError("the gateway's answer is not what was asked for")

    return once


def bare(session: aiohttp.ClientSession, url: str, case: Case) -> Callable[[int], Awaitable[None]]:
    """The floor: N samples, one call to score them, argmax; nothing else."""

    async def draw(number: int, n: int) -> list[Any]:
        body = {"model": "fake", "messages": MESSAGES, "n": n, "seed": number}
        answer = await post(session, f"{url}/v1/chat/completions", body)
        return [choice["message"] for choice in answer["choices"]]

    async def once(number: int) -> None:
        if case.fan_out == "together":
            drawn = await draw(number, case.n)
        else:
            lists = await asyncio.gather(*(draw(number + i, 1) for i in range(case.n)))
            drawn = [message for messages in lists for message in messages]
        body = {"items": [{"messages": MESSAGES, "completions": drawn}]}
        rewards = (await post(session, f"{url}/v1/score", body))["results"][0]["rewards"]
        max(range(case.n), key=rewards.__getitem__)

    return once


async def one_round(
    case: Case, upstream: str, gateway_url: str, process: psutil.Process, seconds: float
) -> tuple[Load, Load]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        own = psutil.Process()
        floor = await run_load(
            bare(session, upstream, case), clients=case.clients, seconds=seconds, watched=own
        )
        through = await run_load(
            through_gateway(session, gateway_url, case),
            clients=case.clients,
            seconds=seconds,
            watched=process,
        )
    return floor, through


def measure(case: Case, rounds: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.yaml"
        with fake_upstream(delay_ms=case.delay_ms, tokens=TOKENS) as upstream:
            config.write_text(yaml.safe_dump(settings(upstream, case)))
            with gateway(config, free_port(), Path(folder) / "log") as (url, process):
                # The first round warms up and does not count.
                uvloop.run(one_round(case, upstream, url, process, min(1.0, seconds)))
                pairs = [
                    uvloop.run(one_round(case, upstream, url, process, seconds))
                    for _ in range(rounds)
                ]
                memory = process.memory_info().rss / 2**20
    return {
        "case": case.name,
        "n": case.n,
        "gateway_cpu_ms": statistics.median(g.server_cpu_ms for _, g in pairs),
        "bare_cpu_ms": statistics.median(b.server_cpu_ms for b, _ in pairs),
        "gateway_rate": statistics.median(g.rate for _, g in pairs),
        "bare_rate": statistics.median(b.rate for b, _ in pairs),
        "rate_ratio": statistics.median(g.rate / b.rate for b, g in pairs),
        "rate_ratios": sorted(round(g.rate / b.rate, 3) for b, g in pairs),
        "gateway_p50_ms": 1000 * statistics.median(g.quantile(0.5) for _, g in pairs),
        "bare_p50_ms": 1000 * statistics.median(b.quantile(0.5) for b, _ in pairs),
        "gateway_p95_ms": 1000 * statistics.median(g.quantile(0.95) for _, g in pairs),
        "memory_mib": memory,
        "requests": sum(g.requests for _, g in pairs),
    }


def free_port() -> int:
    """Below the range that the system uses for outgoing connections. One of those could take the
    port before the server starts."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one round")
    parser.add_argument("--only", help="only the cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="one short round of each case")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.seconds = 1, 0.2
    end_on_sigterm()
    cases = [case for case in CASES if options.only is None or options.only in case.name]
    results = []
    print(f"{'case':40} {'N':>2} {'gateway CPU ms':>14} {'bare CPU ms':>11} {'req/s':>7} "
          f"{'bare':>7} {'ratio':>6} {'p50 ms':>7} {'bare':>7} {'MiB':>5}")  # fmt: skip
    for case in cases:
        r = measure(case, options.rounds, options.seconds)
        results.append(r)
        print(f"{r['case']:40} {r['n']:2} {r['gateway_cpu_ms']:14.2f} {r['bare_cpu_ms']:11.2f} "
              f"{r['gateway_rate']:7.0f} {r['bare_rate']:7.0f} {r['rate_ratio']:6.2f} "
              f"{r['gateway_p50_ms']:7.1f} {r['bare_p50_ms']:7.1f} {r['memory_mib']:5.0f}",
              flush=True)  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
