"""The fake upstream as a process of its own: prints its port and serves until it is stopped.

With ``--faults`` and ``--reward-faults`` that share of its answers is spoilt, each in one of the
ways in which engines, reward servers and what stands before them fail.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
from dataclasses import replace

import uvloop

from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream

TOLD_TO_FAIL = {"message": "told to fail", "type": "InternalServerError", "code": 500}
FAULTS = (
    Step(status=500, error=TOLD_TO_FAIL),
    Step(status=503, error=TOLD_TO_FAIL, headers={"retry-after": "1"}),
    Step(status=502, raw=b"<html><body>502 Bad Gateway</body></html>"),
    Step(raw=b'{"choices": ['),
    Step(cut_after=0),
    Step(cut_after=3),
    Step(hang_after=2),
)
REWARD_FAULTS = (
    Step(status=500, error=TOLD_TO_FAIL),
    Step(status=503, error=TOLD_TO_FAIL, headers={"retry-after": "1"}),
    Step(raw=b'{"model": "fake", "results": [{"rewards": [NaN]}]}'),
    Step(cut_after=0),
    Step(cut_after=3),
)


async def serve(options: argparse.Namespace) -> None:
    dice = random.Random(options.seed)
    most = options.tokens

    def script(call: Call) -> Step:
        if call.path == "/verify":
            return Step(delay_s=options.verify_ms / 1000)
        generates = call.path == "/v1/chat/completions"
        share = options.faults if generates else options.reward_faults
        step = Step()
        if dice.random() < share:
            step = dice.choice(FAULTS if generates else REWARD_FAULTS)
        if not generates:
            return step
        tokens = dice.randint(most // 2, most) if options.vary else most
        delay_s = options.delay_ms / 1000 * (dice.uniform(0.5, 2) if options.vary else 1)
        return replace(step, delay_s=delay_s, tokens=tokens)

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with FakeUpstream(script, record=False) as upstream:
        print(upstream.port, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before each completion")
    parser.add_argument("--tokens", type=int, default=32, help="length of each completion")
    parser.add_argument("--vary", action="store_true", help="delays and lengths differ")
    parser.add_argument("--faults", type=float, default=0.0, help="share of completions")
    parser.add_argument("--reward-faults", type=float, default=0.0, help="share of scores")
    parser.add_argument("--verify-ms", type=float, default=0.0, help="before each verdict")
    parser.add_argument("--seed", type=int, default=0)
    # A client that leaves is no error of this server, and aiohttp would print each with its stack.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    uvloop.run(serve(parser.parse_args()))
