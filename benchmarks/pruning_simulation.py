"""What pruning costs and answers where partial rewards tell as much of the final ones as is known:
the strategy itself, replayed on made-up candidates beside best-of-N.

Rewards of a prompt are Gaussian. After a share f of an answer its partial reward correlates with
the final one by rho(f): ``sqrt`` is sqrt(f), as if the reward were the sum of what each token adds;
``linear`` is f; ``second_half`` is 0 up to the middle and sqrt(2f - 1) after it; ``none`` is 0. The
strategy has to learn all of that from its own requests; the figures leave out the first ones.

The cost counts generated tokens and those that the reward model reads, at a price beside generated
ones (``--read-price``): of partial and whole answers, without the prompt, whose prefix reward
servers keep. Intervals are 95 % over prompts.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from estimate import Estimate, half_width

from bon_gateway.replay.drive import Replayed, replay
from bon_gateway.replay.log import RecordedCandidate
from bon_gateway.replay.pools import PoolSet, PromptPool, Source
from bon_gateway.replay.settings import ReplaySettings
from bon_gateway.strategies.best_of_n import BestOfNSettings
from bon_gateway.strategies.pruning import PruningSettings
from bon_gateway.strategies.settings import StrategySettings
from bon_gateway.types import CandidateStatus, ChatRequest

SIGNALS: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "linear": lambda share: share,
    "second_half": lambda share: math.sqrt(max(0.0, 2 * share - 1)),
    "none": lambda _: 0.0,
}
LEARNING = 200
"""Requests whose figures are left out."""


@dataclass(frozen=True, slots=True)
class Row:
    """Shares are of best-of-N's."""

    signal: str
    strategy: str
    n: int
    generated: Estimate
    read: Estimate
    cost: Estimate
    reward: Estimate
    """Minus best-of-N's, in standard deviations of a prompt's rewards."""
    best_of_n: Estimate
    """Its reward above a prompt's mean."""
    rounds: float
    latency: float
    """Mean, as a share of best-of-N's."""


def candidate(
    index: int, source: random.Random, tokens: int, rho: Callable[[float], float]
) -> RecordedCandidate:
    """One with a partial reward at each of the strategy's checkpoints. The reward is a sum of
    independent steps, so that partial rewards at shares f < g correlate by rho(f) / rho(g)."""
    checkpoints = PruningSettings(type="pruning").checkpoints
    partial, told, value = [], 0.0, 0.0
    for checkpoint in [point for point in checkpoints if point < tokens]:
        square = rho(checkpoint / tokens) ** 2
        value += source.gauss(0.0, math.sqrt(max(0.0, square - told)))
        told = max(told, square)
        # What tells nothing is noise, and not equal.
        partial.append((checkpoint, value if told > 0 else source.gauss(0.0, 1.0)))
    value += source.gauss(0.0, math.sqrt(max(0.0, 1.0 - told)))
    message = {"role": "assistant", "content": f"{index:04d}".ljust(tokens, ".")}
    return RecordedCandidate(
        index,
        CandidateStatus.FINISHED,
        tokens,
        message,
        "stop",
        value,
        partial_rewards=tuple(partial),
    )


def pools(signal: str, prompts: int, size: int, tokens: int, sigma: float, seed: int) -> PoolSet:
    source = random.Random(f"{signal} {seed}")
    found = []
    for prompt in range(prompts):
        lengths = [max(2, round(tokens * math.exp(source.gauss(0.0, sigma)))) for _ in range(size)]
        place = f"prompt {prompt}"
        request = ChatRequest([{"role": "user", "content": place}], {}, None, 1, place)
        own = [candidate(k, source, length, SIGNALS[signal]) for k, length in enumerate(lengths)]
        found.append(PromptPool(place, request, 0, own))
    return PoolSet(found, Source("simulated", None, "simulated"), prompts, {}, {})


def run(
    kind: StrategySettings, name: str, made: PoolSet, settings: ReplaySettings
) -> list[Replayed]:
    return [own[0] for own in replay(kind, name, made, settings)][LEARNING:]


def rewards_of(found: Sequence[Replayed]) -> list[float]:
    return [one.winner.reward or 0.0 for one in found if one.winner is not None]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Of the means, by linearisation."""
    share = fmean(ours) / fmean(theirs)
    spread = [(a - share * b) / fmean(theirs) for a, b in zip(ours, theirs, strict=True)]
    return Estimate(share, half_width(spread))


def compared(
    signal: str, name: str, n: int, ours: list[Replayed], base: list[Replayed], read_price: float
) -> Row:
    def cost(found: list[Replayed]) -> list[float]:
        return [one.tokens + read_price * one.scored_tokens for one in found]

    pairs = zip(rewards_of(ours), rewards_of(base), strict=True)
    return Row(
        signal=signal,
        strategy=name,
        n=n,
        generated=ratio([one.tokens for one in ours], [one.tokens for one in base]),
        read=ratio([one.scored_tokens for one in ours], [one.scored_tokens for one in base]),
        cost=ratio(cost(ours), cost(base)),
        reward=Estimate.of([a - b for a, b in pairs]),
        best_of_n=Estimate.of(rewards_of(base)),
        rounds=fmean(one.rounds for one in ours),
        latency=fmean(one.latency_s for one in ours) / fmean(one.latency_s for one in base),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--signals", nargs="+", default=[*SIGNALS], choices=[*SIGNALS])
    parser.add_argument("--n", type=int, nargs="+", default=[16])
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=350, help="median length of an answer")
    parser.add_argument("--sigma", type=float, default=0.0, help="of the lengths' logarithms")
    parser.add_argument("--read-price", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="a few prompts")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prompts = LEARNING + 20 if options.smoke else options.prompts
    if prompts <= LEARNING + 1:
        parser.error(f"--prompts must be above {LEARNING + 1}, as the first {LEARNING} only teach")
    settings = ReplaySettings.model_validate(
        {"pools": ["-"], "strategies": {"b": {"type": "best_of_n"}}, "permutations": 1}
    )
    rows = []
    for signal in options.signals:
        for n in options.n:
            made = pools(signal, prompts, 2 * n, options.tokens, options.sigma, options.seed)
            base = run(BestOfNSettings(type="best_of_n", n=n), "best_of_n", made, settings)
            for name, wave in (("at once", None), ("in waves", math.ceil(3 * n / 8))):
                kind = PruningSettings(type="pruning", n=n, wave=wave)
                ours = run(kind, "pruning", made, settings)
                rows.append(compared(signal, name, n, ours, base, options.read_price))
                print(told(rows[-1]), flush=True)
    if options.json is not None:
        setup = {key: value for key, value in vars(options).items() if key != "json"}
        found = {"setup": setup, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def told(row: Row) -> str:
    return (
        f"{row.signal:12} n {row.n:3} {row.strategy:9} generated {row.generated}  read {row.read}"
        f"  cost {row.cost}  reward {row.reward} of {row.best_of_n.mean:.3f}"
        f"  rounds {row.rounds:.2f}  latency {row.latency:.2f}"
    )


if __name__ == "__main__":
    main()
