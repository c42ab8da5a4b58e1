"""The steps of the demo, each a function of its settings that runs in a process of its own.

They are the commands that anybody would call, on the demo world's files, and measurements.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainers.base.context import RunContext
from trainers.base.data import Prompt, read_records, write_records
from trainers.demo import answers as files
from trainers.demo.data import WeakPairs, make_world, some_pairs
from trainers.demo.judge import judge
from trainers.demo.model import save_untrained_policy
from trainers.demo.on_policy import on_policy_pairs
from trainers.demo.quality import calibration, calibration_error
from trainers.demo.settings import MeasureSettings, WorldSettings
from trainers.demo.tokenizer import build_tokenizer
from trainers.demo.workers import Outcome
from trainers.dpo.run import train_dpo
from trainers.dpo.settings import DpoSettings
from trainers.evaluation.accuracy import accuracy, by_gap
from trainers.evaluation.figures import WIDE_GAP
from trainers.evaluation.run import score_pairs
from trainers.evaluation.settings import EvaluateSettings
from trainers.ppo.settings import PpoSettings
from trainers.ppo.train import run as train_ppo
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardSettings
from trainers.sft.run import train_sft
from trainers.sft.settings import SftSettings

GAPS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Where the ranges of the gold gap begin; the last one is open."""
COMMAND = "bon-train demo-train"


def world(world: WorldSettings, folder: Path, weak: WeakPairs | None) -> Outcome:
    """Write `data`, the `weak` pairs also in a file of their own, and `untrained`."""
    drawn = make_world(world)
    data = folder / "data"
    write_records(data / "sft.jsonl", drawn.sft)
    write_records(data / "pairs.jsonl", drawn.pairs)
    write_records(data / "held-out-pairs.jsonl", drawn.held_out_pairs)
    write_records(data / "held-out-prompts.jsonl", drawn.held_out_prompts)
    if weak is not None:
        few = some_pairs(drawn.pairs, weak.count, weak.unsafe_share)
        write_records(data / "weak-pairs.jsonl", few)
    save_untrained_policy(build_tokenizer(), folder / "untrained", world.seed)
    return {"pairs": len(drawn.pairs), "sft_records": len(drawn.sft)}


def sft(settings: SftSettings) -> Outcome:
    with _quick_products(threads=1):
        return dict(train_sft(settings, RunContext(COMMAND)))


def reward(settings: RewardSettings) -> Outcome:
    with _quick_products(threads=1):
        return dict(train_reward(settings, RunContext(COMMAND)))


def dpo(settings: DpoSettings) -> Outcome:
    with _quick_products(threads=1):
        return dict(train_dpo(settings, RunContext(COMMAND)))


def ppo(settings: PpoSettings) -> Outcome:
    _one_thread()
    return dict(train_ppo(settings, RunContext(COMMAND)))


def draw(policy: Path, prompts: Path, target: Path, seed: int, measure: MeasureSettings) -> Outcome:
    """Answers of a policy to choose the best of, into a file."""
    _one_thread()
    count = files.draw(
        policy,
        prompts,
        target,
        samples=measure.curve_samples,
        seed=seed,
        max_new_tokens=measure.max_new_tokens,
        batch_size=measure.batch_size,
    )
    return {"answers": count}


def pairs(
    policy: Path, prompts: Path, target: Path, seed: int, measure: MeasureSettings
) -> Outcome:
    """Preference pairs of a policy's own answers, with labels as noisy as all others."""
    _one_thread()
    distinct = {repr(record.prompt): record.prompt for record in read_records(Prompt, prompts)}
    asked = list(distinct.values())
    if len(asked) > measure.pair_prompts:
        asked = random.Random(seed).sample(asked, measure.pair_prompts)
    records = on_policy_pairs(
        str(policy),
        asked,
        pairs_per_prompt=measure.pairs_per_prompt,
        seed=seed,
        max_new_tokens=measure.max_new_tokens,
        batch_size=measure.batch_size,
    )
    write_records(target, records)
    return {"pairs": len(records), "prompts": len(asked)}


def quality(reward: Path, pairs: Path, answers: Path, measure: MeasureSettings) -> Outcome:
    """A reward model against the gold reward: accuracy, calibration, the best-of-n curve."""
    _one_thread()
    evaluation = EvaluateSettings(reward=reward, pairs=pairs, output=reward / "figures.json")
    scored = score_pairs(evaluation)
    answered = read_records(files.Answered, answers)
    rewards = files.rewards_of(reward, answered, measure.batch_size)
    rows = calibration(scored)
    samples = measure.curve_samples
    sizes = [2**i for i in range(samples.bit_length()) if 2**i <= samples]
    return {
        "accuracy": accuracy(scored),
        "accuracy_wide_gap": accuracy(scored, WIDE_GAP),
        "pairs": len(scored),
        "by_gap": [asdict(share) for share in by_gap(scored, GAPS)],
        "calibration": rows,
        "calibration_error": calibration_error(rows),
        "curve": files.curve(rewards, files.golds_of(answered), sizes),
    }


def judged(
    policy: Path, start: Path, prompts: Path, seed: int, measure: MeasureSettings
) -> Outcome:
    """A policy's gold reward, KL to the SFT policy, length, share of answers that end."""
    _one_thread()
    found = judge(
        policy,
        start,
        [record.prompt for record in read_records(Prompt, prompts)],
        measure.judged_samples,
        seed=seed,
        max_new_tokens=measure.max_new_tokens,
        batch_size=measure.batch_size,
    )
    return asdict(found)


@contextmanager
def _quick_products(threads: int) -> Iterator[None]:
    """Multiply matrices in bfloat16 where the CPU can; weights, sums and all else stay float32.

    A training step takes two thirds of the time. Attention is composed of products then: the fused
    kernel is many times slower in this mode. Measurements, and PPO, whose old and new probabilities
    must agree, are made without. A CPU that has no such products would only pay for composing
    attention.
    """
    torch.set_num_threads(threads)
    if not _multiplies_bfloat16():
        yield
        return
    torch.set_float32_matmul_precision("medium")
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.set_float32_matmul_precision("highest")


def _multiplies_bfloat16() -> bool:
    # Older versions of torch cannot tell; what is right on every CPU is taken then.
    tell: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    found = tell()
    return any(found.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def _one_thread() -> None:
    """Sums in one order whatever the number of cores, so that a seed gives the same figures; at
    this size more threads gain little."""
    torch.set_num_threads(1)
