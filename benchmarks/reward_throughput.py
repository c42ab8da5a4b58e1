"""Scoring the N candidates of one prompt: candidates per CPU second and per wall second.

Ways: one at a time and the padded batch (in this process), the reward server over HTTP, vLLM's
pooling runner over HTTP; all on the same random model and the same texts. ``cold`` prompts are new
in every call; ``repeated`` ones are the same, so that a prefix cache may help. CPU time is that of
the server's whole process group, or of this process. Ways take turns within a shape.
``--vllm-python`` is an interpreter with vLLM (BON_VLLM_PYTHON); without it that way is left out.
Differences are to the first way.
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
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import torch
import uvloop
from engines import process, vllm_command
from load import end_on_sigterm, wait_ready
from overhead import free_port, post
from reward_models import CONTEXT, Item, Shape, draw_item, reward_server, save_model
from transformers import PreTrainedTokenizerFast

from reward_server.network.forward import PaddedForward
from reward_server.network.model import RewardModel
from reward_server.network.sequence import Rendered

SHAPES = (
    Shape("256+64", 256, (64,) * 16),
    Shape("256+varied", 256, tuple(8 + 112 * i // 15 for i in range(16))),
    Shape("1024+64", 1024, (64,) * 16),
)
LIFE_S = 3600

Way = Callable[[Item], Awaitable[list[float]]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One way: how to score with it, and whose CPU time counts."""

    score: Way
    pid: int | None
    """Of the server's first process; None for this process."""

    def cpu_seconds(self) -> float:
        if self.pid is None:
            return time.process_time()
        root = psutil.Process(self.pid)
        times = [member.cpu_times() for member in (root, *root.children(recursive=True))]
        return sum(t.user + t.system for t in times)


def in_process(folder: Path) -> dict[str, Measured]:
    model = RewardModel.load(str(folder), device="cpu", dtype="float32")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    padded = PaddedForward(model)

    def sequences(item: Item) -> list[list[int]]:
        encoded: list[list[int]] = tokenizer(item.rendered(), add_special_tokens=False)["input_ids"]
        return encoded

    async def one_at_a_time(item: Item) -> list[float]:
        return [model.score([ids])[0] for ids in sequences(item)]

    async def batch(item: Item) -> list[float]:
        work = padded([Rendered(tuple(ids), 0) for ids in sequences(item)], 1 << 20)
        return [output[0] for output in work.outputs]

    return {"one at a time": Measured(one_at_a_time, None), "padded": Measured(batch, None)}


@contextlib.contextmanager
def servers(folder: Path, python: str | None, logs: Path) -> Iterator[dict[str, tuple[str, int]]]:
    """Address and process id of each server."""
    with contextlib.ExitStack() as stack:
        # A round of a large model takes longer than prompts are kept by default.
        own = reward_server(folder, logs / "reward_server.log", "--set", f"prefix_life_s={LIFE_S}")
        started = {"reward server": stack.enter_context(own)}
        if python is not None:
            port = free_port()
            command = vllm_command(python, folder, port, CONTEXT, "--runner", "pooling")
            server = stack.enter_context(process(command, logs / "vllm.log"))
            url = f"http://127.0.0.1:{port}"
            asyncio.run(wait_ready(f"{url}/health", server))
            started["vLLM pooling"] = (url, server.pid)
        yield started


def over_http(
    session: aiohttp.ClientSession, started: dict[str, tuple[str, int]]
) -> dict[str, Measured]:
    def own(url: str) -> Way:
        async def score(item: Item) -> list[float]:
            answer = await post(session, f"{url}/v1/score", item.body())
            rewards: list[float] = answer["results"][0]["rewards"]
            return rewards

        return score

    def pooling(url: str) -> Way:
        async def score(item: Item) -> list[float]:
            body = {"model": "demo", "input": item.rendered(), "use_activation": False}
            answer = await post(session, f"{url}/classify", body)
            return [float(choice["probs"][0]) for choice in answer["data"]]

        return score

    makers = {"reward server": own, "vLLM pooling": pooling}
    return {name: Measured(makers[name](url), pid) for name, (url, pid) in started.items()}


async def measure_shape(
    shape: Shape, ways: dict[str, Measured], *, repeated: bool, seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """Rounds in which each way scores the same item; stops after ``rounds`` or ``seconds``."""
    rng = random.Random(f"{shape.name} {repeated}")
    prompt = draw_item(shape, rng, None).prompt if repeated else None
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    difference = dict.fromkeys(ways, 0.0)
    agreed = dict.fromkeys(ways, 0)
    begun = time.perf_counter()
    for number in range(-1, rounds):
        if number > 0 and time.perf_counter() - begun > seconds:
            break
        item = draw_item(shape, rng, prompt)
        reference: list[float] | None = None
        for name, way in ways.items():
            cpu_before, wall_before = way.cpu_seconds(), time.perf_counter()
            rewards = await way.score(item)
            took = time.perf_counter() - wall_before
            if number < 0:  # the first round warms up, and fills a prefix cache
                continue
            wall[name].append(took)
            cpu[name].append(way.cpu_seconds() - cpu_before)
            reference = reference or rewards
            pairs = zip(reference, rewards, strict=True)
            difference[name] = max(difference[name], *(abs(a - b) for a, b in pairs))
            agreed[name] += _argmax(reference) == _argmax(rewards)
    n = len(shape.answers)
    return [
        {
            "shape": shape.name,
            "prompts": "repeated" if repeated else "cold",
            "way": name,
            "rounds": len(wall[name]),
            # The clock of a process ticks in hundredths of a second, so that its sum is used.
            "per_cpu_second": n * len(cpu[name]) / max(sum(cpu[name]), 1e-9),
            "per_wall_second": n / statistics.median(wall[name]),
            "difference": difference[name],
            "argmax_agrees": agreed[name] / len(wall[name]),
        }
        for name in ways
    ]


def _argmax(rewards: Sequence[float]) -> int:
    return max(range(len(rewards)), key=rewards.__getitem__)


async def measure_model(
    size: str, local: dict[str, Measured], started: dict[str, tuple[str, int]],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:  # fmt: skip
    results = []
    timeout = aiohttp.ClientTimeout(total=600)
    # The ways in this process block it for so long that servers close idle connections.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        ways = {**local, **over_http(session, started)}
        for shape in (shape for shape in SHAPES if shape.name in options.shapes.split(",")):
            for repeated in (False, True):
                rows = await measure_shape(
                    shape, ways, repeated=repeated, seconds=options.seconds, rounds=options.rounds
                )
                for row in rows:
                    row["model"] = size
                    show(row, rows)
                results += rows
    return results


def show(row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    by_way = {r["way"]: r["per_cpu_second"] for r in rows}
    padded = row["per_cpu_second"] / by_way.get("padded", float("nan"))
    pooling = row["per_cpu_second"] / by_way.get("vLLM pooling", float("nan"))
    print(f"{row['model']:6} {row['shape']:11} {row['prompts']:9} {row['way']:14} "
          f"{row['per_cpu_second']:9.1f} {row['per_wall_second']:10.1f} {padded:8.2f} "
          f"{pooling:8.2f} {row['difference']:9.1e} {row['argmax_agrees']:6.2f}",
          flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm-python", default=os.environ.get("BON_VLLM_PYTHON"))
    parser.add_argument("--sizes", default="small,90M", help="comma-separated")
    parser.add_argument(
        "--shapes", default=",".join(shape.name for shape in SHAPES), help="comma-separated"
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=12.0, help="most for one shape")
    parser.add_argument(
        "--servers-only", action="store_true",
        help="leave out the ways in this process, which take minutes with a large model",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="one round, tiny model, no vLLM")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.sizes, options.vllm_python = 1, "tiny", None
    end_on_sigterm()
    torch.set_num_threads(1)
    print(f"{'model':6} {'shape':11} {'prompts':9} {'way':14} {'per CPU s':>9} {'per wall s':>10} "
          f"{'x padded':>8} {'x vLLM':>8} {'max diff':>9} {'argmax':>6}")  # fmt: skip
    results = []
    for size in options.sizes.split(","):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "model"
            save_model(folder, size)
            with servers(folder, options.vllm_python, Path(name)) as started:
                local = {} if options.servers_only else in_process(folder)
                results += uvloop.run(measure_model(size, local, started, options))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
