"""The steps of the demo, each a function that runs in a process of its own.

They are the commands that anybody would call, on the demo world's files, and measurements. Torch
computes on one thread: sums come in one order whatever the number of cores, so that a seed gives
the same figures, and at this size more threads gain little.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from bon_common.best_of_n import best_of_n
from trainers.base.context import RunContext
from trainers.base.data import (
    Conversation,
    PromptedRecord,
    PromptRecord,
    read_records,
    write_records,
)
from trainers.base.settings import TrainSettings
from trainers.demo.build import write_world
from trainers.demo.data import WeakPairs, prefers_first, some_pairs
from trainers.demo.gold import gold
from trainers.demo.plan import Seed
from trainers.demo.quality import calibration, calibration_error
from trainers.demo.settings import WorldSettings
from trainers.dpo.run import train_dpo
from trainers.dpo.settings import DpoSettings
from trainers.evaluation.figures import WIDE_GAP
from trainers.evaluation.run import score_pairs
from trainers.evaluation.settings import EvaluateSettings
from trainers.policy.divergence import measure_divergence
from trainers.policy.drawing import DrawnAnswer, PolicySampler
from trainers.ppo.settings import PpoSettings
from trainers.ppo.train import run as train_ppo
from trainers.reward.run import train_reward
from trainers.reward.settings import RewardTrainSettings
from trainers.rewards.accuracy import accuracy, by_gap
from trainers.rewards.one import score
from trainers.runtime.hardware import multiplies_bfloat16
from trainers.sft.run import train_sft
from trainers.sft.settings import SftSettings

GAPS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Where the ranges of the gold gap begin; the last one is open."""
TRAINERS: dict[type[TrainSettings | PpoSettings], Callable[..., Any]] = {
    SftSettings: train_sft,
    RewardTrainSettings: train_reward,
    DpoSettings: train_dpo,
    PpoSettings: train_ppo,
}


class Answered(PromptedRecord):
    """A prompt and several answers to it."""

    answers: list[str]


def prepare_world(settings: WorldSettings, folder: Path, weak: WeakPairs | None) -> dict[str, Any]:
    """Write `data`, the `weak` pairs also in a file of their own, and `untrained`."""
    drawn = write_world(settings, folder)
    if weak is not None:
        few = some_pairs(drawn.pairs, weak.count, weak.unsafe_share)
        write_records(folder / "data" / "weak-pairs.jsonl", few)
    return {"pairs": len(drawn.pairs), "sft_records": len(drawn.sft)}


def train(settings: TrainSettings | PpoSettings) -> dict[str, Any]:
    torch.set_num_threads(1)
    run = TRAINERS[type(settings)]
    with _quick_products(wanted=not isinstance(settings, PpoSettings)):
        return dict(run(settings, RunContext("bon-train demo-train")))


def draw_pairs(seed: Seed) -> dict[str, Any]:
    """Write pairs of the SFT policy's own answers, labelled as the world's other pairs are.

    Each answer is in one pair only. There are fewer pairs than asked for: two answers may be equal,
    and one that the limit cut is left out with its pair.
    """
    asked = _prompts(seed, "pairs.jsonl")
    asked = list({repr(prompt): prompt for prompt in asked}.values())
    if len(asked) > seed.measure.pair_prompts:
        asked = random.Random(seed.seed).sample(asked, seed.measure.pair_prompts)
    drawn = _draw(seed, asked, 2 * seed.measure.pairs_per_prompt)
    rng = random.Random(seed.seed)
    records = []
    for prompt, row in zip(asked, drawn, strict=True):
        for first, second in zip(row[::2], row[1::2], strict=True):
            if first.text == second.text or not (first.ended and second.ended):
                continue
            texts = [first.text, second.text]
            if not prefers_first(rng, *(gold(prompt.messages, text).total for text in texts)):
                texts.reverse()
            chosen, rejected = ([{"role": "assistant", "content": text}] for text in texts)
            records.append({**prompt.as_json(), "chosen": chosen, "rejected": rejected})
    write_records(seed.data / "on-policy-pairs.jsonl", records)
    return {"pairs": len(records), "prompts": len(asked)}


def draw_answers(seed: Seed) -> dict[str, Any]:
    """Write answers of the SFT policy, from which every reward model chooses the best."""
    asked = _prompts(seed, "held-out-prompts.jsonl")
    drawn = _draw(seed, asked, seed.measure.curve_samples)
    both = zip(asked, drawn, strict=True)
    write_records(
        seed.data / "held-out-answers.jsonl",
        ({**prompt.as_json(), "answers": [one.text for one in row]} for prompt, row in both),
    )
    return {"answers": sum(map(len, drawn))}


def quality(seed: Seed, reward: str) -> dict[str, Any]:
    """A reward model against the gold reward: accuracy, calibration, the best-of-n curve."""
    torch.set_num_threads(1)
    folder = seed.folder / reward
    pairs, output = seed.data / "held-out-pairs.jsonl", folder / "figures.json"
    scored = score_pairs(EvaluateSettings(reward=folder, pairs=pairs, output=output))
    rows = calibration(scored)
    return {
        "accuracy": accuracy(scored),
        "accuracy_wide_gap": accuracy(scored, WIDE_GAP),
        "pairs": len(scored),
        "by_gap": [asdict(share) for share in by_gap(scored, GAPS)],
        "calibration": rows,
        "calibration_error": calibration_error(rows),
        "curve": _curve(seed, folder),
    }


def judge(seed: Seed, policy: str) -> dict[str, Any]:
    """What a policy is worth, and its price, as means over its answers to held-out prompts.

    `gold` and its standard error over prompts, KL(policy, SFT) in nats an answer, tokens, the share
    of answers that end.
    """
    torch.set_num_threads(1)
    prompts = _prompts(seed, "held-out-prompts.jsonl")
    each = range(seed.measure.judged_samples)
    asked = [prompt for prompt in prompts for _ in each]
    divergence, drawn = measure_divergence(
        seed.folder / policy, seed.policy, asked, **_sampling(seed)
    )
    said = iter(drawn)
    golds = [
        fmean(gold(prompt.messages, next(said)["content"]).total for _ in each)
        for prompt in prompts
    ]
    return {
        "gold": fmean(golds),
        "gold_error": stdev(golds) / sqrt(len(golds)),
        **asdict(divergence),
        "answers": len(drawn),
    }


def _curve(seed: Seed, reward: Path) -> list[dict[str, float]]:
    """For each n: mean reward and gold of the best of n by reward, and gold of the best by gold."""
    answered = read_records(Answered, seed.data / "held-out-answers.jsonl")
    conversations = [one.asked.said(text) for one in answered for text in one.answers]
    scores = iter(score(reward, conversations, seed.measure.batch_size))
    rewards = [[next(scores) for _ in one.answers] for one in answered]
    golds = [[gold(one.prompt, text).total for text in one.answers] for one in answered]
    both = list(zip(rewards, golds, strict=True))
    return [
        {
            "n": n,
            "gold": fmean(best_of_n(proxy, true, n) for proxy, true in both),
            "reward": fmean(best_of_n(proxy, proxy, n) for proxy, _ in both),
            "oracle": fmean(best_of_n(true, true, n) for _, true in both),
        }
        for n in (2**i for i in range(seed.measure.curve_samples.bit_length()))
    ]


def _prompts(seed: Seed, name: str) -> list[Conversation]:
    return [record.asked for record in read_records(PromptRecord, seed.data / name)]


def _draw(seed: Seed, prompts: list[Conversation], samples: int) -> list[list[DrawnAnswer]]:
    torch.set_num_threads(1)
    return PolicySampler(seed.policy).draw(prompts, samples, **_sampling(seed))


def _sampling(seed: Seed) -> dict[str, Any]:
    limits = seed.measure.model_dump(include={"max_new_tokens", "batch_size"})
    return {"seed": seed.seed, **limits}


@contextmanager
def _quick_products(*, wanted: bool) -> Iterator[None]:
    """Multiply matrices in bfloat16 where the CPU can; weights, sums and all else stay float32.

    A training step takes two thirds of the time. Attention is composed of products then: the fused
    kernel is many times slower in this mode. Measurements, and PPO, whose old and new probabilities
    must agree, do without. A CPU that has no such products would only pay for composing attention.
    """
    if not wanted or not multiplies_bfloat16():
        yield
        return
    torch.set_float32_matmul_precision("medium")
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.set_float32_matmul_precision("highest")
