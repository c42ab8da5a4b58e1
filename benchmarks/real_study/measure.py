"""Draws the answers of some arms: vLLM, a reward server and the gateway, whose candidate log is
what is measured.

A request's id is made of its arm, the hash of all that its figures depend on (`--tag`) and its
prompt, so the log itself says what is there already: a stopped run goes on. At the end each arm's
lines are gathered into its pool, in the order of the prompts, with the truth beside each candidate.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from engines import Engine, rewards, started, vllm
from load import end_on_sigterm, gateway
from overhead import free_port

from real_study.layout import MODEL, TUNED, Arm, Layout, step_parser
from real_study.pools import Line, read_lines, write_lines
from trainers.tasks.gold import correct

CONTEXT = 1024
CLIENTS = 6
ENGINE_FLAGS = (
    # On a CPU, vLLM 0.32 dies of a request with a seed whose prompt is cut into two steps. A step
    # with room for all prompts in flight cuts none.
    *("--max-num-batched-tokens", "16384", "--max-num-seqs", "192"),
    # With blocks of 128 no prompt of these would fill one, and the 32 candidates of a prompt would
    # compute it 32 times.
    *("--block-size", "32"),
)
TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Asked:
    """One prompt of the held-out file."""

    place: int
    prompt: str
    task: str


def prompts_of(layout: Layout) -> list[Asked]:
    lines = read_lines(layout.held_out)
    return [Asked(place, line["prompt"], line["task"]) for place, line in enumerate(lines)]


def request_id(arm: Arm, tag: str, asked: Asked) -> str:
    return f"{arm.name}-{tag}-{asked.place:05}"


def logged(folder: Path, ids: Iterable[str]) -> dict[str, Line]:
    """The log's whole answers to these requests, by id. One that lost candidates or rewards is
    asked for again."""
    wanted = set(ids)
    found = {}
    for path in sorted(folder.glob("candidates-*.jsonl*")):
        for line in read_lines(path):
            whole = line["error"] is None and line["degraded"] is None
            if whole and line["request_id"] in wanted:
                found[line["request_id"]] = line
    return found


def body(arm: Arm, asked: Asked, max_tokens: int) -> dict[str, Any]:
    choice = {"strategy": "best_of_n", "n": arm.n} if arm.n > 1 else {"strategy": "single"}
    return {
        "model": arm.policy,
        "messages": [{"role": "user", "content": asked.prompt}],
        "temperature": arm.temperature,
        "max_tokens": max_tokens,
        "logprobs": True,
        # Each candidate has a seed of its own, and no two prompts share one.
        "seed": 1000 * (asked.place + 1),
        "bon": choice,
    }


def engines(layout: Layout, arms: Sequence[Arm], python: str) -> dict[str, Engine]:
    """Those that the arms need. The adapters are served by the engine of the model that they were
    trained on."""
    wanted: dict[str, Engine] = {}
    if not all(arm.adapted for arm in arms):
        wanted["base"] = vllm(python, Path(MODEL), CONTEXT, *ENGINE_FLAGS)
    tuned = [name for name in TUNED if any(arm.policy == name for arm in arms)]
    if any(arm.adapted for arm in arms):
        modules = [f"{name}={layout.adapter(name)}" for name in tuned]
        lora = ("--enable-lora", "--max-loras", str(len(tuned)), "--lora-modules", *modules)
        flags = (*ENGINE_FLAGS, *(lora if tuned else ()))
        wanted["sft"] = vllm(python, layout.served("sft"), CONTEXT, *flags)
    wanted["reward"] = rewards(layout.served("reward"))
    return wanted


def gateway_settings(urls: Mapping[str, str], arms: Sequence[Arm], log: Path) -> dict[str, Any]:
    policies = {arm.policy: "sft" if arm.adapted else "base" for arm in arms}
    return {
        "policies": {
            name: {
                "type": "vllm", "urls": [urls[engine]], "timeout_s": TIMEOUT_S,
                # `benchmarks/engines.py` names the engine's own model.
                "model": name if name in TUNED else "demo",
            }
            for name, engine in policies.items()
        },
        "rewards": {"study": {"type": "reward_server", "urls": [urls["reward"]]}},
        "models": {
            name: {"policy": name, "reward": "study", "strategy": {"type": "best_of_n", "n": 2}}
            for name in policies
        },
        # No file of the log may be removed.
        "recording": {"folder": str(log), "keep": 100_000, "queue": 10_000},
    }  # fmt: skip


class Asker:
    """Asks the gateway, and writes down how long each answer took."""

    def __init__(self, session: aiohttp.ClientSession, url: str, times: Path) -> None:
        self._session = session
        self._url = f"{url}/v1/chat/completions"
        self._times = times

    async def ask(self, arm: Arm, tag: str, asked: Asked, max_tokens: int, *, alone: bool) -> None:
        """Raises aiohttp's error for an answer that is none."""
        name = request_id(arm, tag, asked)
        begun = time.perf_counter()
        sent = self._session.post(
            self._url, json=body(arm, asked, max_tokens), headers={"x-request-id": name}
        )
        async with sent as answer:
            answer.raise_for_status()
            await answer.read()
        took = {"id": name, "seconds": round(time.perf_counter() - begun, 4), "alone": alone}
        with self._times.open("a", encoding="utf-8") as file:
            file.write(json.dumps(took) + "\n")


async def ask_all(url: str, waiting: Sequence[tuple[Arm, Asked]], layout: Layout, tag: str) -> None:
    """The first prompts of each arm one at a time, for their latency, then all others together."""
    sizes = layout.sizes
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    first = [(arm, asked) for arm, asked in waiting if asked.place < sizes.alone]
    rest = [(arm, asked) for arm, asked in waiting if asked.place >= sizes.alone]
    async with aiohttp.ClientSession(timeout=timeout) as session:
        asker = Asker(session, url, layout.times)
        for arm, asked in first:
            await asker.ask(arm, tag, asked, sizes.max_tokens, alone=True)
        places = asyncio.Semaphore(CLIENTS)

        async def one(arm: Arm, asked: Asked) -> None:
            async with places:
                await asker.ask(arm, tag, asked, sizes.max_tokens, alone=False)

        async with asyncio.TaskGroup() as group:
            for arm, asked in rest:
                group.create_task(one(arm, asked))


def gather(layout: Layout, arm: Arm, tag: str, asked: Sequence[Asked]) -> int:
    """Write the arm's pool from the log; how many prompts it has."""
    ids = {request_id(arm, tag, one): one for one in asked}
    found = logged(layout.logs, ids)
    lines = [_judged(found[name], one) for name, one in ids.items() if name in found]
    write_lines(layout.pool(arm.name), lines)
    return len(lines)


def _judged(line: Line, asked: Asked) -> Line:
    """The line with its task, and with the truth about each candidate."""
    candidates = [
        {**one, "gold": correct(line["messages"], one["message"]["content"] or "")}
        if one["message"] is not None
        else one
        for one in line["candidates"]
    ]
    return {**line, "task": asked.task, "candidates": candidates}


def part(asked: Sequence[Asked], share: str) -> Sequence[Asked]:
    """`2/3`: the second third."""
    number, _, parts = share.partition("/")
    size = -(-len(asked) // int(parts))
    return asked[(int(number) - 1) * size : int(number) * size]


def main() -> int:
    parser = step_parser(__doc__)
    parser.add_argument("--arms", nargs="+", required=True)
    parser.add_argument("--part", default="1/1", help="of the prompts: 2/3 is the second third")
    parser.add_argument("--tag", required=True, help="changes with all that figures depend on")
    parser.add_argument("--vllm-python", default=os.environ.get("BON_VLLM_PYTHON"))
    options = parser.parse_args()
    layout = Layout.of(options)
    arms = [layout.sizes.arm(name) for name in options.arms]
    everything = prompts_of(layout)
    ids = [request_id(arm, options.tag, one) for arm in arms for one in everything]
    there = logged(layout.logs, ids)
    waiting = [
        (arm, one)
        for arm in arms
        for one in part(everything, options.part)
        if request_id(arm, options.tag, one) not in there
    ]
    print(f"{len(waiting)} requests to ask, {len(there)} are in the log", flush=True)
    if waiting and options.vllm_python is None:
        parser.error("--vllm-python or BON_VLLM_PYTHON must name an interpreter with vLLM")
    end_on_sigterm()
    if waiting:
        layout.logs.mkdir(parents=True, exist_ok=True)
        config = layout.folder / "gateway.yaml"
        wanted = engines(layout, arms, options.vllm_python)
        with started(wanted, layout.folder) as urls:
            tree = gateway_settings(urls, arms, layout.logs)
            config.write_text(yaml.safe_dump(tree), encoding="utf-8")
            with gateway(config, free_port(), layout.folder / "gateway.log") as (url, _):
                asyncio.run(ask_all(url, waiting, layout, options.tag))
    for arm in arms:
        count = gather(layout, arm, options.tag, everything)
        print(f"{arm.name}: {count} of {len(everything)} prompts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
