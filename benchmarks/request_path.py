"""Where the milliseconds of one request go: the gateway's own share, vLLM, the reward server.

One client asks real engines on the demo models the same prompts, first for one sample, then for the
best of N. The times come from the servers' metrics: the gateway reports the request and each reward
call, vLLM prefill and decode, the reward server its forward passes. HTTP, queues and templates take
the rest. ``--vllm-python`` is an interpreter with vLLM
(BON_VLLM_PYTHON); ``--engines`` are engines that run already.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from e2e_vllm import CONTEXT, chat_body, options_of, parser_of
from engines import rewards, started, vllm
from load import end_on_sigterm, gateway
from overhead import free_port, post
from prometheus_client.parser import text_string_to_metric_families

from bon_gateway.demo_models import policy_path, reward_path

WARM_UP = 3
Samples = dict[str, float]
"""The sum over the labels of each sample, by its name."""


@dataclass(frozen=True, slots=True)
class Share:
    """Mean milliseconds of one request."""

    model: str
    request: float
    gateway: float
    policy: float
    prefill: float
    decode: float
    reward: float
    forward: float


async def samples(session: aiohttp.ClientSession, url: str) -> Samples:
    async with session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # Colons only from some versions of vLLM's client library.
            name = sample.name.replace(":", "_")
            found[name] = found.get(name, 0.0) + sample.value
    return found


async def share(
    session: aiohttp.ClientSession, model: str, urls: tuple[str, str, str],
    options: argparse.Namespace,
) -> Share:  # fmt: skip
    """``urls``: gateway, generator, reward server."""

    async def ask(number: int) -> None:
        body = chat_body(number, options) | {"model": model}
        answer = await post(session, f"{urls[0]}/v1/chat/completions", body)
        if answer["bon"]["degraded"]:
            raise RuntimeError(f"degraded: {answer['bon']['degraded']}")

    for number in range(WARM_UP):
        await ask(number)
    before = [await samples(session, url) for url in urls]
    for number in range(options.requests):
        await ask(WARM_UP + number)
    after = [await samples(session, url) for url in urls]

    def mean(server: int, name: str, a: int = options.requests) -> float:
        return 1000 * (after[server].get(name, 0.0) - before[server].get(name, 0.0)) / a

    def of_candidate(name: str) -> float:
        # Candidates run side by side, so that their mean is what the request waits for.
        drawn = after[1][f"{name}_count"] - before[1][f"{name}_count"]
        return mean(1, f"{name}_sum", int(drawn))

    request = mean(0, "bon_request_duration_seconds_sum")
    own = mean(0, "bon_overhead_seconds_sum")
    reward = mean(0, "bon_score_seconds_sum")
    return Share(
        model, request, own, request - own - reward,
        of_candidate("vllm_request_prefill_time_seconds"),
        of_candidate("vllm_request_decode_time_seconds"),
        reward, mean(2, "reward_server_model_seconds_sum"),
    )  # fmt: skip


@contextlib.contextmanager
def engines(python: str) -> Iterator[tuple[str, str]]:
    wanted = {"generator": vllm(python, policy_path(), CONTEXT), "rewards": rewards(reward_path())}
    with tempfile.TemporaryDirectory() as logs, started(wanted, Path(logs)) as urls:
        yield urls["generator"], urls["rewards"]


def settings(generator: str, reward_server: str, n: int) -> dict[str, Any]:
    return {
        "policies": {"p": {"type": "vllm", "urls": [generator]}},
        "rewards": {"r": {"type": "reward_server", "urls": [reward_server]}},
        "models": {
            "single": {"policy": "p", "strategy": {"type": "single"}},
            "best": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": n}},
        },
    }


async def measure(urls: tuple[str, str, str], options: argparse.Namespace) -> list[Share]:
    async with aiohttp.ClientSession() as session:
        return [await share(session, model, urls, options) for model in ("single", "best")]


def show(shares: list[Share]) -> None:
    print(f"{'model':8} {'request ms':>10} {'gateway':>8} {'policy':>7} {'prefill':>8} "
          f"{'decode':>7} {'reward':>7} {'forward':>8}")  # fmt: skip
    for s in shares:
        print(f"{s.model:8} {s.request:10.1f} {s.gateway:8.1f} {s.policy:7.1f} {s.prefill:8.1f} "
              f"{s.decode:7.1f} {s.reward:7.1f} {s.forward:8.1f}")  # fmt: skip


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--engines", nargs=2, metavar=("GENERATOR", "REWARD_SERVER"))
    parser.add_argument("--smoke", action="store_true", help="a few requests of each")
    options = options_of(parser)
    if options.smoke:
        options.requests = 3
    end_on_sigterm()
    given = None if options.engines is None else contextlib.nullcontext(tuple(options.engines))
    with (
        tempfile.TemporaryDirectory() as name,
        given or engines(options.vllm_python) as (generator, reward_server),
    ):
        config = Path(name) / "gateway.yaml"
        config.write_text(yaml.safe_dump(settings(generator, reward_server, options.n)))
        with gateway(config, free_port(), Path(name) / "gateway.log") as (url, _):
            shares = asyncio.run(measure((url, generator, reward_server), options))
    show(shares)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(s) for s in shares], indent=2))


if __name__ == "__main__":
    main()
