"""Best-of-N on real vLLM engines: what scoring adds to generating.

A generator and a pooling engine run the demo models. For each prompt, in random order: the N
samples alone (a bare client), the samples and then their scores in series (a bare client), and the
gateway, in both fan-outs and with each reward backend. All use the same engines and the same seeds.
``--vllm-python`` is an interpreter with vLLM (BON_VLLM_PYTHON); ``--engines`` are engines that run
already.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
import yaml
from engines import rewards, started, vllm
from load import end_on_sigterm, gateway, run_load
from overhead import free_port, post

from bon_gateway.demo_models import policy_path, reward_path

PROMPTS = (
    "name three toys for a bear",
    "Can you name five snacks for my little teddy?",
    "What are 2 games for a sleepy bear?",
    "I need four places for our old bear, please.",
    "Suggest three clothes for the brave teddy.",
    "please list five toys for my shy bear",
    "How do I break the kite of a bear?",
)
CONTEXT = 512
FAN_OUTS = ("separate", "together")
REWARDS = ("in_process", "reward_server", "vllm_classify")

Once = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Engines:
    """Addresses."""

    generator: str
    pooling: str
    reward_server: str


@contextlib.contextmanager
def engines(python: str) -> Iterator[Engines]:
    wanted = {
        "generator": vllm(python, policy_path(), CONTEXT),
        "pooling": vllm(python, reward_path(), CONTEXT, "--runner", "pooling"),
        "reward_server": rewards(reward_path()),
    }
    with tempfile.TemporaryDirectory() as logs, started(wanted, Path(logs)) as urls:
        yield Engines(**urls)


def chat_body(number: int, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": PROMPTS[number % len(PROMPTS)]}],
        "temperature": 1.0,
        "max_tokens": options.max_tokens,
        "ignore_eos": options.fixed_length,
        "seed": 1000 * number,
    }


async def generate(
    session: aiohttp.ClientSession, engine: str, number: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The N samples, by one request for each."""

    async def draw(index: int) -> dict[str, Any]:
        body = chat_body(number, options)
        body |= {"model": "demo", "seed": body["seed"] + index}
        return _messages(await post(session, f"{engine}/v1/chat/completions", body))[0]

    return list(await asyncio.gather(*(draw(index) for index in range(options.n))))


async def generate_at_once(
    session: aiohttp.ClientSession, engine: str, number: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The same samples, by one request for all."""
    body = chat_body(number, options) | {"model": "demo", "n": options.n}
    return _messages(await post(session, f"{engine}/v1/chat/completions", body))


def _messages(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": "assistant", "content": choice["message"]["content"] or ""}
        for choice in answer["choices"]
    ]


async def score(
    session: aiohttp.ClientSession, engine: Engines, reward: str, number: int,
    drawn: list[dict[str, Any]], options: argparse.Namespace,
) -> list[float]:  # fmt: skip
    messages = chat_body(number, options)["messages"]
    if reward == "reward_server":
        body = {"items": [{"messages": messages, "completions": drawn}]}
        answer = await post(session, f"{engine.reward_server}/v1/score", body)
        rewards: list[float] = answer["results"][0]["rewards"]
        return rewards

    async def one(message: dict[str, Any]) -> float:
        body = {"model": "demo", "messages": [*messages, message], "use_activation": False}
        answer = await post(session, f"{engine.pooling}/classify", body)
        return float(answer["data"][0]["probs"][0])

    return list(await asyncio.gather(*(one(message) for message in drawn)))


def ways(
    session: aiohttp.ClientSession, engine: Engines, url: str, options: argparse.Namespace
) -> dict[str, Once]:
    """Each way to answer, by name."""

    async def generation(number: int) -> None:
        await generate(session, engine.generator, number, options)

    async def generation_at_once(number: int) -> None:
        await generate_at_once(session, engine.generator, number, options)

    def series(reward: str) -> Once:
        async def once(number: int) -> None:
            drawn = await generate(session, engine.generator, number, options)
            rewards = await score(session, engine, reward, number, drawn, options)
            max(range(options.n), key=rewards.__getitem__)

        return once

    def through(model: str) -> Once:
        async def once(number: int) -> None:
            body = chat_body(number, options) | {"model": model}
            answer = await post(session, f"{url}/v1/chat/completions", body)
            if answer["bon"]["degraded"]:
                raise RuntimeError(f"degraded: {answer['bon']['degraded']}")

        return once

    return {
        "generation alone": generation,
        "generation alone, n=N": generation_at_once,
        "series, reward_server": series("reward_server"),
        "series, vllm_classify": series("vllm_classify"),
        **{
            f"gateway, {fan_out}, {reward}": through(f"{fan_out}-{reward}")
            for fan_out in FAN_OUTS
            for reward in REWARDS
        },
    }


def settings(engine: Engines, options: argparse.Namespace) -> dict[str, Any]:
    strategy = {"type": "best_of_n", "n": options.n}
    return {
        "policies": {
            fan_out: {"type": "vllm", "urls": [engine.generator], "fan_out": fan_out}
            for fan_out in FAN_OUTS
        },
        "rewards": {
            "in_process": {"type": "in_process", "model": str(reward_path()), "threads": 1},
            "reward_server": {"type": "reward_server", "urls": [engine.reward_server]},
            "vllm_classify": {"type": "vllm_classify", "urls": [engine.pooling]},
        },
        "models": {
            f"{fan_out}-{reward}": {"policy": fan_out, "reward": reward, "strategy": strategy}
            for fan_out in FAN_OUTS
            for reward in REWARDS
        },
    }


async def latencies(named: dict[str, Once], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, one request at a time; in every round each way answers the same
    prompt, in random order."""
    taken: dict[str, list[float]] = {name: [] for name in named}
    order = random.Random(0)
    for number in range(-2, rounds):
        for name in order.sample(list(named), len(named)):
            begun = time.perf_counter()
            await named[name](number + 2)
            if number >= 0:  # the first rounds warm up
                taken[name].append(time.perf_counter() - begun)
    return taken


async def measure(engine: Engines, url: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        named = ways(session, engine, url, options)
        alone = await latencies(named, options.rounds)
        floor = alone["generation alone"]
        results = []
        for name, once in named.items():
            load = await run_load(once, clients=options.clients, seconds=options.seconds)
            ratios = [a / b for a, b in zip(alone[name], floor, strict=True)]
            results.append(
                {
                    "way": name,
                    "latency_ms": 1000 * statistics.median(alone[name]),
                    "to_generation": statistics.median(alone[name]) / statistics.median(floor),
                    "to_generation_paired": statistics.median(ratios),
                    "rate": load.rate,
                    "p95_ms_under_load": 1000 * load.quantile(0.95),
                }
            )
        return results


def show(results: list[dict[str, Any]], clients: int) -> None:
    rates = {r["way"]: r["rate"] for r in results}
    print(f"{'way':34} {'p50 ms':>8} {'to generation':>14} {'(paired)':>9} "
          f"{f'req/s, {clients} clients':>17} {'to series':>10}")  # fmt: skip
    for r in results:
        series = rates.get(f"series, {r['way'].rpartition(' ')[2]}", rates["series, reward_server"])
        print(f"{r['way']:34} {r['latency_ms']:8.1f} {r['to_generation']:14.2f} "
              f"{r['to_generation_paired']:9.2f} {r['rate']:17.2f} "
              f"{r['rate'] / series:10.2f}")  # fmt: skip


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """With what each benchmark of these requests takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--vllm-python", default=os.environ.get("BON_VLLM_PYTHON"))
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--fixed-length", action="store_true", help="no candidate ends earlier")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser


def options_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Ends the program where nothing says how to get at vLLM."""
    options = parser.parse_args()
    if options.vllm_python is None and options.engines is None:
        parser.error("--vllm-python or BON_VLLM_PYTHON must name an interpreter with vLLM")
    return options


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each load run")
    parser.add_argument(
        "--engines", nargs=3, metavar=("GENERATOR", "POOLING", "REWARD_SERVER"), help="addresses"
    )
    parser.add_argument("--smoke", action="store_true", help="a few requests of each")
    options = options_of(parser)
    if options.smoke:
        options.rounds, options.seconds = 1, 0.3
    end_on_sigterm()
    given = None
    if options.engines is not None:
        given = contextlib.nullcontext(Engines(*options.engines))
    with (
        tempfile.TemporaryDirectory() as name,
        given or engines(options.vllm_python) as engine,
    ):
        config = Path(name) / "gateway.yaml"
        config.write_text(yaml.safe_dump(settings(engine, options)))
        with gateway(config, free_port(), Path(name) / "gateway.log") as (url, _):
            results = uvloop.run(measure(engine, url, options))
    show(results, options.clients)
    if options.json is not None:
        options.json.write_text(json.dumps({"options": vars(options), "results": results},
                                           indent=2, default=str))  # fmt: skip


if __name__ == "__main__":
    main()
