"""A verifier behind HTTP under load: requests a second of the gateway and of a bare client that
makes the same calls with the same limit, and ``/livez`` meanwhile.

Gateway and bare client run in turns against the same upstream process, which plays the generator,
the reward server and the verifier. The limit and the verifier's time bound both: at most
``at_once / hook seconds`` answers are verified a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop
import yaml
from livez import watched_livez
from load import Load, end_on_sigterm, fake_upstream, gateway, run_load
from overhead import MESSAGES, TOKENS, free_port, post

RATIO_WANTED = 0.95
LIVEZ_WANTED_MS = 100.0


@dataclass(frozen=True, slots=True)
class HookCase:
    at_once: int
    clients: int = 64
    n: int = 8
    hook_ms: float = 200.0

    @property
    def bound(self) -> float:
        """The most requests a second that the verifier allows."""
        return self.at_once / (self.hook_ms / 1000) / self.n


@dataclass(frozen=True, slots=True)
class HookRound:
    gateway_rate: float
    bare_rate: float
    gateway_cpu_ms: float
    gateway_p50_ms: float
    bare_p50_ms: float
    livez_p99_ms: float
    livez_most_ms: float
    idle_livez_most_ms: float
    """``/livez`` while the bare client runs and the gateway is idle: the machine's own share."""


def settings(upstream: str, case: HookCase) -> dict[str, Any]:
    hook = {"type": "http", "url": f"{upstream}/verify", "at_once": case.at_once}
    model = {
        "policy": "p",
        "reward": "r",
        "strategy": {"type": "best_of_n", "n": case.n},
        "verifier": [hook],
    }
    return {
        "policies": {"p": {"type": "vllm", "urls": [upstream], "model": "fake"}},
        "rewards": {"r": {"type": "reward_server", "urls": [upstream]}},
        "models": {"m": model},
    }


async def through_gateway(
    session: aiohttp.ClientSession, url: str, case: HookCase, number: int
) -> None:
    body = {"model": "m", "messages": MESSAGES, "seed": case.n * number}
    bon = (await post(session, f"{url}/v1/chat/completions", body))["bon"]
    outcomes = [one["verdicts"]["http"]["outcome"] for one in bon["candidates"]]
    if outcomes != ["pass"] * case.n or bon["reward"] is None:
        raise RuntimeError(f"the gateway's answer is not what was asked for: {outcomes}")


async def bare(
    session: aiohttp.ClientSession,
    url: str,
    case: HookCase,
    slots: asyncio.Semaphore,
    number: int,
) -> None:
    """The floor: draw, verify each answer, score what passed; nothing else."""
    body = {"model": "fake", "messages": MESSAGES, "n": case.n, "seed": case.n * number}
    choices = (await post(session, f"{url}/v1/chat/completions", body))["choices"]

    async def verify(answer: Any) -> None:
        async with slots:
            asked = {"messages": MESSAGES, "tools": None, "metadata": {}, "answers": [answer]}
            said = await post(session, f"{url}/verify", asked)
        if said["verdicts"][0]["outcome"] != "pass":
            raise RuntimeError("the verifier's answer is not what was asked for")

    answers = [choice["message"] for choice in choices]
    await asyncio.gather(*(verify(answer) for answer in answers))
    items = {"items": [{"messages": MESSAGES, "completions": answers}]}
    await post(session, f"{url}/v1/score", items)


async def one_round(
    case: HookCase, upstream: str, url: str, process: psutil.Process, seconds: float
) -> HookRound:
    slots = asyncio.Semaphore(case.at_once)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def load(once: Any, watched: psutil.Process) -> Load:
            return await run_load(once, clients=case.clients, seconds=seconds, watched=watched)

        with watched_livez(url) as idle:
            floor = await load(lambda i: bare(session, upstream, case, slots, i), psutil.Process())
        with watched_livez(url) as busy:
            through = await load(lambda i: through_gateway(session, url, case, i), process)
    return HookRound(
        gateway_rate=through.rate,
        bare_rate=floor.rate,
        gateway_cpu_ms=through.server_cpu_ms,
        gateway_p50_ms=1000 * through.quantile(0.5),
        bare_p50_ms=1000 * floor.quantile(0.5),
        livez_p99_ms=busy.p99_ms,
        livez_most_ms=busy.most_ms,
        idle_livez_most_ms=idle.most_ms,
    )


def measure(case: HookCase, rounds: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.yaml"
        more = ["--verify-ms", str(case.hook_ms)]
        with fake_upstream(delay_ms=0, tokens=TOKENS, more=more) as upstream:
            config.write_text(yaml.safe_dump(settings(upstream, case)))
            with gateway(config, free_port(), Path(folder) / "log") as (url, process):
                # The first round warms up and does not count.
                uvloop.run(one_round(case, upstream, url, process, min(1.0, seconds)))
                found = [
                    uvloop.run(one_round(case, upstream, url, process, seconds))
                    for _ in range(rounds)
                ]
    ratios = [one.gateway_rate / one.bare_rate for one in found]
    return {
        **asdict(case),
        "bound": case.bound,
        **{
            name: statistics.median(getattr(one, name) for one in found)
            for name in HookRound.__slots__
        },
        "livez_most_ms": max(one.livez_most_ms for one in found),
        "idle_livez_most_ms": max(one.idle_livez_most_ms for one in found),
        "ratio": statistics.median(ratios),
        "ratios": sorted(round(ratio, 3) for ratio in ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of one round")
    parser.add_argument("--at-once", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="one short round of each case")
    options = parser.parse_args()
    cases = [HookCase(at_once) for at_once in options.at_once]
    if options.smoke:
        options.rounds, options.seconds = 1, 0.2
        cases = [HookCase(64, clients=4, hook_ms=20)]
    end_on_sigterm()
    results = []
    print(f"{'at once':>7} {'bound':>6} {'req/s':>6} {'bare':>6} {'ratio':>6} {'p50 ms':>7} "
          f"{'bare':>7} {'CPU ms':>7} {'livez p99':>9} {'most':>6} {'idle':>6}")  # fmt: skip
    for case in cases:
        r = measure(case, options.rounds, options.seconds)
        results.append(r)
        met = r["ratio"] >= RATIO_WANTED and r["livez_most_ms"] < LIVEZ_WANTED_MS
        print(f"{r['at_once']:7} {r['bound']:6.0f} {r['gateway_rate']:6.1f} {r['bare_rate']:6.1f} "
              f"{r['ratio']:6.3f} {r['gateway_p50_ms']:7.0f} {r['bare_p50_ms']:7.0f} "
              f"{r['gateway_cpu_ms']:7.2f} {r['livez_p99_ms']:9.1f} {r['livez_most_ms']:6.1f} "
              f"{r['idle_livez_most_ms']:6.1f} "
              f"{'pass' if met else 'miss'}", flush=True)  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
