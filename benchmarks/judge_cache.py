"""Which order of a judge's prompt leaves the least to compute, on a real vLLM.

A judge reads the same conversation for every answer, and the same answer for every criterion. The
prefix cache holds everything before the first difference between two prompts. Our order is fixed
words, conversation, answer, criterion; the other orders put the criterion, or the answer, first.
``lead`` sends one call ahead of the others.

Start vLLM with ``--enable-prefix-caching --enable-prompt-tokens-details``; without the second flag
it does not say how much was cached. Every order gets its own conversations, so that none profits
from another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bon_gateway.backends.reward.judge.prompt import TEMPLATES
from bon_gateway.backends.reward.judge.settings import JudgeSettings
from bon_gateway.judging import JudgeUsage
from bon_gateway.testing.judges import FakeJudge
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import RewardRequest

WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty"),
    *("kelp", "larch", "maple", "north", "otter", "pine", "quartz", "river", "stone", "tide"),
)
CRITERIA = (
    "Is everything in it true?",
    "Does it do all that the user asked for?",
    "Is it as short and clear as it can be?",
)
TASK = "# Task"


@dataclass(frozen=True, slots=True)
class Order:
    name: str
    first: str | None
    """The part that is moved to the front: ``criterion`` or ``answer``; None is our order."""
    lead: bool = False


ORDERS = (
    Order("conversation, answer, criterion (ours)", None),
    Order("the same, one call ahead", None, lead=True),
    Order("criterion, conversation, answer", "criterion"),
    Order("answer, conversation, criterion", "answer"),
)


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """Means for one request."""

    order: str
    calls: float
    prompt_tokens: float
    computed_tokens: float
    """Prompt tokens that were not cached."""
    seconds: float


def template(first: str | None) -> str:
    """Our template with one of its parts in front."""
    ours = (TEMPLATES / "pointwise.jinja").read_text(encoding="utf-8")
    if first == "criterion":
        return "{{ criterion }}\n\n" + ours.replace(" {{ criterion }}", "")
    if first == "answer":
        head, _, rest = ours.partition("# Answer\n")
        answer, _, task = rest.partition(TASK)
        return f"# Answer\n{answer}{head}{TASK}{task}"
    return ours


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


async def measured(options: argparse.Namespace, order: Order, folder: Path) -> CacheFigures:
    path = folder / f"{order.first or 'ours'}.jinja"
    path.write_text(template(order.first), encoding="utf-8")
    criteria = [{"text": each} for each in CRITERIA[: options.criteria]]
    settings: dict[str, Any] = {
        "urls": (options.url,),
        "method": {"type": "pointwise", "criteria": criteria, "least_mass": 0},
        "prompt": str(path),
        "lead": order.lead,
        "timeout_s": 600,
        "at_once": 64,
        "budget": {"calls": 4096},
    }
    backend = JudgeSettings(type="judge", **settings).build(None)
    await backend.start()
    usage, began = JudgeUsage(), 0.0
    try:
        while not backend.ready():  # noqa: ASYNC110 - it tells nobody when it is up
            await asyncio.sleep(0.1)
        rng = random.Random(order.name)
        began = time.perf_counter()
        for _ in range(options.requests):
            asked = RewardRequest([{"role": "user", "content": text(rng, options.conversation)}])
            answers = [
                {"role": "assistant", "content": text(rng, options.answer)}
                for _ in range(options.n)
            ]
            scores = await backend.score(asked, answers)
            assert scores.judging is not None
            usage += scores.judging
    finally:
        seconds = time.perf_counter() - began
        await backend.close()
    each = options.requests
    return CacheFigures(
        order.name,
        usage.calls / each,
        usage.prompt_tokens / each,
        (usage.prompt_tokens - usage.cached_tokens) / each,
        seconds / each,
    )


async def all_orders(options: argparse.Namespace) -> list[CacheFigures]:
    with tempfile.TemporaryDirectory() as folder:
        if options.url:
            return [await measured(options, order, Path(folder)) for order in ORDERS]
        async with FakeUpstream(FakeJudge(lambda _: {"A": 0.5, "U": 0.5})) as fake:
            options.url = fake.url
            return [await measured(options, order, Path(folder)) for order in ORDERS]


def table(figures: Sequence[CacheFigures]) -> str:
    ours = figures[0].computed_tokens
    lines = [
        "| order | calls | prompt tokens | computed | times ours |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.order} | {one.calls:.0f} | {one.prompt_tokens:.0f} | {one.computed_tokens:.0f}"
        f" | {one.computed_tokens / max(ours, 1):.2f} |"
        for one in figures
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="vLLM with a chat model")
    parser.add_argument(
        "--smoke", action="store_true", help="a scripted judge, which caches nothing"
    )
    parser.add_argument("--n", type=int, default=8, help="answers to a request")
    parser.add_argument("--criteria", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--conversation", type=int, default=400, help="its words")
    parser.add_argument("--answer", type=int, default=100, help="words of an answer")
    parser.add_argument("--requests", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    if not (options.url or options.smoke):
        parser.error("--url is missing")
    figures = asyncio.run(all_orders(options))
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in figures], indent=2))


if __name__ == "__main__":
    main()
