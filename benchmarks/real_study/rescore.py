"""Rewards of the SFT policy's pool by the weak reward model, and of its answers' beginnings.

A beginning is the first share of an answer's tokens, or a number of them. Answers of fewer than
`LEAST_TOKENS` have no first share: half of "Paris" is "Paris". Each prompt becomes one line, which
is written when it is scored, so a stopped run goes on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from engines import rewards, started
from load import end_on_sigterm

from real_study.layout import (
    CHECKPOINTS,
    LARGE,
    SHARES,
    WEAK,
    Layout,
    checkpoint_name,
    partial_name,
    step_parser,
)
from real_study.pools import Pool, read_lines, read_pools
from real_study.scoring import ScoredTexts, ToScore, score_all

LEAST_TOKENS = 4


def beginnings(tokenizer: Any, texts: Sequence[str], share: float) -> dict[str, str]:
    """The first share of the tokens of each text that has enough of them, by the text."""
    found = {}
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) >= LEAST_TOKENS:
            found[text] = tokenizer.decode(ids[: ceil(share * len(ids))])
    return found


def first_tokens(tokenizer: Any, texts: Sequence[str], count: int) -> dict[str, str]:
    """The first `count` tokens of each text, by the text. A shorter text stays whole: the policy
    may have drawn it in more tokens than the tokenizer needs."""
    return {
        text: tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"][:count])
        for text in texts
    }


@dataclass(frozen=True)
class Wanted:
    """What one line will hold: for each name, what is scored in place of each answer."""

    prompt: str
    by_name: dict[str, dict[str, str]]

    def items(self) -> Iterator[tuple[str, dict[str, str], ToScore]]:
        asked = [{"role": "user", "content": self.prompt}]
        for name, scored in self.by_name.items():
            if scored:
                partial = name != WEAK
                yield name, scored, ToScore(asked, list(scored.values()), partial)


def wanted_of(pool: Pool, tokenizer: Any) -> Wanted:
    texts = list(dict.fromkeys(one.text for one in pool.drawn))
    by_name = {WEAK: {text: text for text in texts}}
    for share in SHARES:
        by_name[partial_name(share)] = beginnings(tokenizer, texts, share)
    for count in CHECKPOINTS:
        by_name[checkpoint_name(count)] = first_tokens(tokenizer, texts, count)
    return Wanted(pool.prompt, by_name)


async def score_one(urls: dict[str, str], wanted: Wanted) -> dict[str, dict[str, float]]:
    """For each name, the reward of each answer; names whose texts were refused are empty."""
    found: dict[str, dict[str, float]] = {}
    for name, scored, item in wanted.items():
        kept: list[ScoredTexts | None] = []
        url = urls["weak" if name == WEAK else "reward"]
        await score_all(url, [item], lambda _, one, kept=kept: kept.append(one))  # type: ignore[misc]
        [one] = kept
        found[name] = {} if one is None else dict(zip(scored, one.rewards, strict=True))
    return found


def main() -> int:
    parser = step_parser(__doc__)
    parser.add_argument("--anew", action="store_true", help="keep nothing of an earlier run")
    options = parser.parse_args()
    layout = Layout.of(options)
    path = layout.rescored
    path.parent.mkdir(parents=True, exist_ok=True)
    if options.anew:
        path.unlink(missing_ok=True)
    there = list(read_lines(path)) if path.exists() else []
    # A last line that a killed process left half is written anew.
    path.write_text("".join(json.dumps(line) + "\n" for line in there), encoding="utf-8")
    known = {line["prompt"] for line in there}
    pools = [pool for pool in read_pools(layout.pool(LARGE)) if pool.prompt not in known]
    print(f"{len(pools)} prompts to score, {len(known)} are there", flush=True)
    end_on_sigterm()
    if pools:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(layout.served("sft"))
        engines = {
            "reward": rewards(layout.served("reward")),
            "weak": rewards(layout.trained("weak-reward")),
        }
        with started(engines, layout.folder) as urls, path.open("a", encoding="utf-8") as out:
            for pool in pools:
                found = asyncio.run(score_one(urls, wanted_of(pool, tokenizer)))
                out.write(json.dumps({"prompt": pool.prompt, "rewards": found}) + "\n")
                out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
