"""Whether the reward of an unfinished answer tells that of the whole one, its turn left open or
closed.

A policy draws N answers to each prompt. Each is cut after a share of its words and scored, rendered
both ways. Reported over the prompts: the mean rank correlation (Spearman) with the rewards of the
whole answers, and how often the best answer is among the better half by what was seen of it, which
is what dropping the worse half early keeps. By chance those are 0 and 1/2.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from bon_gateway import demo_models
from reward_server.network.model import RewardModel
from reward_server.scoring.render import Renderer
from trainers.base.data import Conversation, Message
from trainers.demo.world import draw_request
from trainers.policy.drawing import PolicySampler

SHARES = (0.25, 0.5, 0.75)
TURNS = ("closed", "open")


def beginning(text: str, share: float) -> str:
    words = text.split(" ")
    return " ".join(words[: max(round(share * len(words)), 1)])


def ranks(values: Sequence[float]) -> list[float]:
    """Of each value, equals sharing the mean of theirs."""
    order = sorted(values)
    return [order.index(v) + (order.count(v) - 1) / 2 for v in values]


def rank_correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    """None where one side does not differ."""
    try:
        return statistics.correlation(ranks(left), ranks(right))
    except statistics.StatisticsError:
        return None


def survives(partial: Sequence[float], whole: Sequence[float]) -> float:
    """Whether the best is in the better half; equals at the border count by their chance."""
    kept = len(whole) // 2
    best = partial[max(range(len(whole)), key=whole.__getitem__)]
    above = sum(value > best for value in partial)
    equal = sum(value == best for value in partial)
    return min(max((kept - above) / equal, 0.0), 1.0)


class Judge:
    """Rewards of answers to one prompt."""

    def __init__(self, folder: Path) -> None:
        self._renderer = Renderer(AutoTokenizer.from_pretrained(folder))
        self._model = RewardModel.load(str(folder), device="cpu", dtype="float32")

    def rewards(
        self, prompt: list[dict[str, Any]], answers: Sequence[str], *, open_turn: bool
    ) -> list[float]:
        rendered = self._renderer.render_all(prompt, answers, open_turn=open_turn)
        return self._model.score([one.ids for one in rendered])


def measure(
    judge: Judge, prompts: list[list[dict[str, Any]]], answers: list[list[str]]
) -> list[dict[str, Any]]:
    whole = [
        judge.rewards(prompt, texts, open_turn=False)
        for prompt, texts in zip(prompts, answers, strict=True)
    ]
    rows = []
    for share in SHARES:
        for turn in TURNS:
            correlations: list[float] = []
            survived: list[float] = []
            for prompt, texts, final in zip(prompts, answers, whole, strict=True):
                cut = [beginning(text, share) for text in texts]
                seen = judge.rewards(prompt, cut, open_turn=turn == "open")
                found = rank_correlation(seen, final)
                if found is not None:
                    correlations.append(found)
                survived.append(survives(seen, final))
            rows.append(
                {
                    "share": share,
                    "turn": turn,
                    "prompts": len(correlations),
                    "correlation": statistics.fmean(correlations),
                    "error": statistics.stdev(correlations) / len(correlations) ** 0.5,
                    "survives": statistics.fmean(survived),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", type=Path, default=demo_models.policy_path())
    parser.add_argument("--reward", type=Path, default=demo_models.reward_path())
    parser.add_argument("--prompts", type=Path, help="one a line; without it the demo world's")
    parser.add_argument("--count", type=int, default=200, help="prompts of the demo world")
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="eight prompts")
    options = parser.parse_args()
    if options.smoke:
        options.count = 8
    torch.set_num_threads(1)
    rng = random.Random(options.seed)
    if options.prompts is not None:
        texts = options.prompts.read_text("utf-8").splitlines()
    else:
        texts = [draw_request(rng).text for _ in range(options.count)]
    prompts: list[list[dict[str, Any]]] = [[{"role": "user", "content": text}] for text in texts]
    drawn = PolicySampler(options.policy).draw(
        [Conversation([Message(role="user", content=text)]) for text in texts], options.n,
        seed=options.seed, max_new_tokens=options.max_tokens, batch_size=64,
    )  # fmt: skip
    answers = [[answer.text for answer in row] for row in drawn]
    rows = measure(Judge(options.reward), prompts, answers)
    print(f"{len(prompts)} prompts, {options.n} answers each")
    print(f"{'seen':>5} {'turn':7} {'correlation':>11} {'+-':>6} {'best survives':>13}")
    for row in rows:
        print(f"{row['share']:5.2f} {row['turn']:7} {row['correlation']:11.3f} "
              f"{row['error']:6.3f} {row['survives']:13.3f}")  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
