"""A gateway under faults for a long time: what it answers, holds on to and logs.

Clients ask at a steady rate, one in seven leaves early, a share of the engines' and the reward
model's answers is spoilt. In the end every answer has to be one that docs/api.md allows, memory and
descriptors must have stayed flat, nothing may be in flight, and no log line may be there that such
a time does not explain. Exit code 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop
import yaml
from flat import trend
from load import end_on_sigterm, fake_upstream, gateway
from overhead import free_port
from prometheus_client.parser import text_string_to_metric_families
from soak_clients import SECRET, Clients, Outcome, settings

MEGABYTE = 1024 * 1024
WARM_UP = 0.25
"""Share of the run in which caches, pools and the allocator's arenas fill."""
SETTLE_S = 20
LEAST_ANSWERED = 0.9
"""Share of the requests without a fault of their own that must be 200: a lost candidate is drawn
again, so that a tenth of failed calls must not cost a tenth of the answers."""
EXPECTED_LINES = (
    "request",
    "candidates failed",
    "rewards are missing",
    "stopping",
    "stopped",
    "Upstream ",
)
"""How messages begin that such a time explains. Upstreams come up, and are ejected and come back
where faults happen to follow each other."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Clients ask in rounds. In the pauses between them nothing is in use, so that what is held
    then is held on to."""

    rounds: int
    round_s: float
    pause_s: float
    most_growth_mb: float
    most_more_descriptors: int

    @property
    def seconds(self) -> float:
        return self.rounds * (self.round_s + self.pause_s)


LONG = Plan(rounds=20, round_s=24, pause_s=6, most_growth_mb=4, most_more_descriptors=2)
SMOKE = Plan(rounds=4, round_s=3, pause_s=1, most_growth_mb=16, most_more_descriptors=40)
"""Its pauses are shorter than connections are kept, and nothing is warm yet: only what leaks fast
is seen in it."""


@dataclass(frozen=True, slots=True)
class Sample:
    second: float
    rss_mb: float
    uss_mb: float
    descriptors: int


def sampled(process: psutil.Process, second: float) -> Sample:
    memory = process.memory_full_info()
    return Sample(second, memory.rss / MEGABYTE, memory.uss / MEGABYTE, process.num_fds())


async def soak(
    clients: Clients, process: psutil.Process, plan: Plan
) -> tuple[list[Sample], int, int]:
    """A sample at the end of each pause; the descriptors that are open before and afterwards."""
    before = process.num_fds()
    samples = []
    started = time.monotonic()
    for number in range(plan.rounds):
        await clients.run(plan.round_s, seed=number)
        await asyncio.sleep(plan.pause_s)
        samples.append(sampled(process, time.monotonic() - started))
    # Connections to upstreams are kept for 4 s.
    for _ in range(SETTLE_S):
        if process.num_fds() <= before:
            break
        await asyncio.sleep(1)
    return samples, before, process.num_fds()


async def scraped(url: str) -> list[Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    return [s for family in text_string_to_metric_families(text) for s in family.samples]


def flat(samples: Sequence[Sample], plan: Plan) -> tuple[dict[str, list[float]], list[str]]:
    """Level and growth of each figure after the warm-up, and what is wrong with them."""
    later = samples[int(len(samples) * WARM_UP) :]
    limits = {
        "rss_mb": plan.most_growth_mb,
        "uss_mb": plan.most_growth_mb,
        "descriptors": plan.most_more_descriptors,
    }
    figures, wrong = {}, []
    for name, most in limits.items():
        found = trend([(sample.second, getattr(sample, name)) for sample in later])
        figures[name] = [found.level, found.growth]
        if found.growth > most:
            wrong.append(f"{name} grew by {found.growth:.1f}, at most {most} is flat")
    return figures, wrong


def wrong_answers(outcome: Outcome) -> list[str]:
    wrong = [f"{count} x {what}" for what, count in outcome.wrong.most_common()]
    own = sum(outcome.statuses[status] for status in (400, 404, 413, 415))
    answered = outcome.statuses.total() - own
    if outcome.statuses[200] < LEAST_ANSWERED * answered:
        wrong.append(f"only {outcome.statuses[200]} of {answered} requests were answered with 200")
    if not outcome.left or not outcome.degraded:
        wrong.append("no client left or nothing failed: this was no test")
    return wrong


def wrong_counts(samples: Sequence[Any], outcome: Outcome) -> list[str]:
    """What the gateway's own metrics say of it."""
    wrong = []
    counted: Counter[int] = Counter()
    for sample in samples:
        if sample.name in ("bon_requests_in_flight", "bon_candidates_in_flight") and sample.value:
            wrong.append(f"{sample.name} is {sample.value} at the end")
        if sample.name == "bon_requests_total":
            counted[int(sample.labels["status"])] += int(sample.value)
    for status, seen in outcome.statuses.items():
        # A client that leaves may have been answered before the gateway knew.
        if not seen <= counted[status] <= seen + outcome.left:
            wrong.append(f"{counted[status]} requests are counted as {status}, and {seen} were")
    return wrong


def wrong_lines(log: Path) -> list[str]:
    """Lines that nothing explains, and what a client said in any line."""
    wrong: Counter[str] = Counter()
    for line in log.read_text("utf-8").splitlines():
        if SECRET in line:
            wrong["a line that quotes a prompt"] += 1
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            if not line.startswith("listening on "):
                wrong[f"no JSON: {line[:80]}"] += 1
            continue
        if "traceback" in entry or not entry["message"].startswith(EXPECTED_LINES):
            wrong[f"{entry['level']}: {entry['message'][:80]}"] += 1
    return [f"{count} x log line: {what}" for what, count in wrong.items()]


def run(options: argparse.Namespace, plan: Plan, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The figures and all that is wrong."""
    faults = ["--vary", "--faults", str(options.faults)]
    reward_faults = ["--vary", "--reward-faults", str(options.reward_faults)]
    with contextlib.ExitStack() as started:
        generators = [
            started.enter_context(
                fake_upstream(delay_ms=40, tokens=32, more=[*faults, "--seed", str(seed)])
            )
            for seed in range(2)
        ]
        reward = started.enter_context(fake_upstream(delay_ms=0, tokens=1, more=reward_faults))
        written = folder / "gateway.yaml"
        records = folder / "records"
        written.write_text(yaml.safe_dump(settings(generators, reward, str(records))), "utf-8")
        log = folder / "gateway.log"
        with gateway(written, free_port(), log) as (url, process):
            clients = Clients(url, options.rate, options.leaving)
            samples, before, after = uvloop.run(soak(clients, process, plan))
            metrics = uvloop.run(scraped(url))
            busy = sum(
                sample.value
                for generator in [*generators, reward]
                for sample in uvloop.run(scraped(generator))
                if sample.name == "vllm:num_requests_running"
            )
    outcome = clients.outcome
    figures, wrong = flat(samples, plan)
    wrong += wrong_answers(outcome) + wrong_counts(metrics, outcome) + wrong_lines(log)
    if after > before:
        wrong.append(f"{before} descriptors were open before and {after} afterwards")
    if busy:
        wrong.append(f"upstreams still work on {busy} calls")
    result = {
        "seconds": plan.seconds,
        "rate": options.rate,
        "sent": outcome.sent,
        "skipped": outcome.skipped,
        "left": outcome.left,
        "degraded": outcome.degraded,
        "broken_off": outcome.broken_off,
        "statuses": dict(sorted(outcome.statuses.items())),
        "level_and_growth": figures,
        "descriptors": [before, after],
        "samples": [asdict(sample) for sample in samples],
    }
    return result, wrong


def show(result: dict[str, Any]) -> None:
    statuses = ", ".join(f"{count} x {status}" for status, count in result["statuses"].items())
    print(f"{result['sent']} requests in {result['seconds']:.0f} s: {statuses}")
    print(
        f"{result['left']} clients left, {result['skipped']} were not sent; {result['degraded']}"
        f" answers degraded, {result['broken_off']} streams ended with an error event"
    )
    for name, (level, growth) in result["level_and_growth"].items():
        print(f"{name}: {level:.1f}, {growth:+.2f} after the warm-up")
    before, after = result["descriptors"]
    print(f"descriptors: {before} before, {after} after")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--leaving", type=float, default=0.15, help="share of clients that leave")
    parser.add_argument("--faults", type=float, default=0.1, help="share of spoilt completions")
    parser.add_argument("--reward-faults", type=float, default=0.05, help="share of spoilt scores")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="16 seconds in place of 10 minutes")
    options = parser.parse_args()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as name:
        result, wrong = run(options, SMOKE if options.smoke else LONG, Path(name))
    show(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result))
    for what in wrong:
        print(f"wrong: {what}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
