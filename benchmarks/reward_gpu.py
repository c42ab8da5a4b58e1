"""Scoring on a GPU in bfloat16, on random weights of Qwen3's sizes: candidates per second, and what
share of the measured peak of matrix products the useful work is.

Ways, in turns: the padded batch and prompts shared by FlexAttention, both this project's;
transformers' own classes on the padded batch, with SDPA and, where the package `flash-attn` is
installed, with FlashAttention. A batch has several groups. Useful work is two operations for each
weight outside of the embeddings and each token of every candidate, its prompt once for the group:
what a way computes beyond that is its own fault. ``--smoke`` runs a tiny shape on whatever device
there is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForSequenceClassification

from reward_server.network.forward import PaddedForward
from reward_server.network.model import RewardModel
from reward_server.network.packing import grouped
from reward_server.network.sequence import Rendered
from reward_server.network.shared_prompt import choose_forward

SIZES: dict[str, tuple[int, int, int, int, int]] = {
    "tiny": (64, 128, 2, 4, 2),
    "0.6B": (1024, 3072, 28, 16, 8),
    "4B": (2560, 9728, 36, 32, 8),
    "8B": (4096, 12288, 36, 32, 8),
}
"""Hidden size, feed-forward size, layers, heads, key heads."""
SHAPES: dict[str, tuple[int, tuple[int, ...]]] = {
    "256+64": (256, (64,) * 16),
    "256+varied": (256, tuple(8 + 112 * i // 15 for i in range(16))),
    "1024+64": (1024, (64,) * 16),
}
VOCABULARY = 151_936
BUDGET = 1 << 20

Way = Callable[[Sequence[Rendered]], object]


def config_of(size: str, **settings: Any) -> Qwen3Config:
    hidden, inner, layers, heads, key_heads = SIZES[size]
    return Qwen3Config(
        vocab_size=1000 if size == "tiny" else VOCABULARY,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        head_dim=16 if size == "tiny" else 128,
        max_position_embeddings=4096,
        pad_token_id=0,
        eos_token_id=1,
        **settings,
    )


def network(size: str, attention: str, device: str, dtype: torch.dtype) -> Any:
    config = config_of(size, num_labels=1, attn_implementation=attention, dtype=dtype)
    torch.manual_seed(0)
    with torch.device(device):
        net = Qwen3ForSequenceClassification(config)
    return net.to(dtype).eval()


def library(net: Any) -> Way:
    """The class's own call on a right-padded batch."""

    def score(batch: Sequence[Rendered]) -> object:
        longest = max(len(sequence.ids) for sequence in batch)
        rows = [[*sequence.ids, *[0] * (longest - len(sequence.ids))] for sequence in batch]
        ids = torch.tensor(rows, device=net.device)
        with torch.inference_mode():
            return net(input_ids=ids, attention_mask=(ids != 0).long()).logits.tolist()

    return score


def ways_of(size: str, device: str, dtype: torch.dtype) -> dict[str, Callable[[], Way]]:
    """Each builds its network when its turn comes, since several may not fit together."""

    def padded() -> Way:
        forward = PaddedForward(RewardModel(network(size, "sdpa", device, dtype)))
        return lambda batch: forward(batch, BUDGET)

    def shared() -> Way:
        model = RewardModel(network(size, "sdpa", device, dtype))
        forward = choose_forward(model, share_prompt=True)
        if forward.prompts is None:
            raise RuntimeError("this device does not share prompts; the log tells why")
        return lambda batch: forward(batch, BUDGET)

    ways = {
        "shared prompt": shared,
        "padded": padded,
        "transformers, sdpa": lambda: library(network(size, "sdpa", device, dtype)),
    }
    if device == "cuda" and importlib.util.find_spec("flash_attn") is not None:
        name = "flash_attention_2"
        ways["transformers, flash"] = lambda: library(network(size, name, device, dtype))
    return ways


def draw(shape: str, groups: int, rng: random.Random) -> list[Rendered]:
    prompt_tokens, answers = SHAPES[shape]

    def words(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(2, 1000) for _ in range(count))

    batch = []
    for _ in range(groups):
        prompt = words(prompt_tokens)
        batch += [Rendered(prompt + words(count), prompt_tokens) for count in answers]
    return batch


def peak(device: str, dtype: torch.dtype, side: int) -> float:
    """Operations per second of a square matrix product, the best of some."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(20):
        best = min(best, timed(device, lambda: left @ right))
    return 2 * side**3 / best


def timed(device: str, work: Callable[[], object]) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def seconds_of(way: Way, batches: Sequence[list[Rendered]], device: str) -> float:
    """The median over all batches but the first two, which warm up."""
    took = [timed(device, lambda batch=batch: way(batch)) for batch in batches]
    return statistics.median(took[2:])


def measure(size: str, device: str, groups: int, rounds: int, best: float) -> list[dict[str, Any]]:
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    hidden, inner, layers, heads, key_heads = SIZES[size]
    width = 16 if size == "tiny" else 128
    weights = layers * hidden * (width * (2 * heads + 2 * key_heads) + 3 * inner)
    rows = []
    for name, build in ways_of(size, device, dtype).items():
        way = build()
        for shape in SHAPES:
            rng = random.Random(shape)
            batches = [draw(shape, groups, rng) for _ in range(rounds + 2)]
            seconds = seconds_of(way, batches, device)
            useful = sum(group.tokens for group in grouped(batches[0], lambda _: True))
            row = {
                "model": size,
                "shape": shape,
                "way": name,
                "per_second": len(batches[0]) / seconds,
                "of_peak": 2 * weights * useful / seconds / best,
            }
            print(f"{size:5} {shape:11} {name:20} {row['per_second']:10.1f} "
                  f"{row['of_peak']:8.3f}", flush=True)  # fmt: skip
            rows.append(row)
        way = None  # its weights make room for the next
        if device == "cuda":
            torch.cuda.empty_cache()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="0.6B,4B,8B", help="comma-separated")
    parser.add_argument("--groups", type=int, default=4, help="prompts of one batch")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="a tiny shape, one round, any device")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.smoke:
        options.sizes, options.groups, options.rounds = "tiny", 1, 1
    elif device == "cpu":
        parser.error("no CUDA device; --smoke runs without one")
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    best = peak(device, dtype, 8192 if device == "cuda" else 256)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, {str(dtype).removeprefix('torch.')}: {best / 1e12:.2f} TFLOP/s at most")
    print(f"{'model':5} {'shape':11} {'way':20} {'per second':>10} {'of peak':>8}")
    rows = []
    for size in options.sizes.split(","):
        rows += measure(size, device, options.groups, options.rounds, best)
    if options.json is not None:
        options.json.write_text(json.dumps({"device": name, "peak": best, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
