"""What a trainer's memory settings save and cost: peak memory and tokens for a second of CPU time.

Each arm trains the same random network on the same random conversations, one thread, in a process
of its own. Arms take turns; ratios compare an arm with the first one of its trainer, in the same
round. Tokens are those of whole conversations, so an arm that computes fewer of them has more for
each second.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ARMS: dict[str, dict[str, dict[str, Any]]] = {
    "sft": {
        "float32": {},
        "padding-free": {"padding_free": True},
        "bfloat16": {"dtype": "bfloat16"},
        "checkpointing": {"gradient_checkpointing": True},
        "bfloat16, checkpointing": {"dtype": "bfloat16", "gradient_checkpointing": True},
    },
    "reward": {
        "float32, whole": {"share_prompt": False},
        "shared prompt": {},
        "shared, bfloat16": {"dtype": "bfloat16"},
        "shared, checkpointing": {"gradient_checkpointing": True},
    },
}
FORK = multiprocessing.get_context("fork")
PROMPTS, ANSWERS = (64, 320), (16, 96)
"""Fewest and most tokens of each."""


def train(trainer: str, arm: str, folder: Path, steps: int, batch: int) -> dict[str, float]:
    """In a process of its own: `steps` updates after a first one that is not measured."""
    import torch
    from transformers import AutoTokenizer, TrainerCallback

    torch.set_num_threads(1)
    rng = random.Random(0)
    records = [_record(rng) for _ in range((steps + 1) * batch)]
    values = {
        "model": str(folder),
        "train": folder / "none",
        "output": folder / "out",
        "max_steps": steps + 1,
        "batch_size": batch,
        "max_length": PROMPTS[1] + ANSWERS[1],
        "log_every": steps + 1,
    }
    tokenizer = AutoTokenizer.from_pretrained(folder)
    make = {"sft": _sft, "reward": _reward}[trainer]
    made = make(values | ARMS[trainer][arm], tokenizer, records)
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_args: Any, **_options: Any) -> None:
            times.append(time.process_time())

    made.add_callback(Clock())
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    made.train()
    whole = [len(p) + len(a) for p, *answers in records for a in answers[: 1 + (trainer != "sft")]]
    return {
        "tokens_s": sum(whole) * steps / (steps + 1) / (times[-1] - times[0]),
        "peak": _resident("VmHWM"),
        "above": _resident("VmHWM") - before,
    }


def _record(rng: random.Random) -> list[list[int]]:
    """A prompt and two answers."""
    lengths = [rng.randint(*PROMPTS), rng.randint(*ANSWERS), rng.randint(*ANSWERS)]
    return [[rng.randrange(10, 4000) for _ in range(length)] for length in lengths]


def _sft(values: Mapping[str, Any], tokenizer: Any, records: list[list[list[int]]]) -> Any:
    from trainers.sft.run import IGNORED, SftData, make_trainer
    from trainers.sft.settings import SftSettings

    rows = [
        {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}
        for prompt, answer, _ in records
    ]
    return make_trainer(SftSettings.model_validate(values), tokenizer, SftData(rows, 0))


def _reward(values: Mapping[str, Any], tokenizer: Any, records: list[list[list[int]]]) -> Any:
    from trainers.base.bad_lines import BadLines
    from trainers.reward.data import TrainingData
    from trainers.reward.run import Prepared, make_trainer
    from trainers.reward.settings import RewardTrainSettings
    from trainers.reward.tasks import task_of

    rows = [
        {
            "sequences": [prompt + answer for answer in answers],
            "length": len(prompt) + max(map(len, answers)),
            "targets": {},
        }
        for prompt, *answers in records
    ]
    settings = RewardTrainSettings.model_validate(values)
    data = TrainingData(
        rows=rows, dropped=0, equal=0, without_margin=0, names=["chosen", "rejected"]
    )
    return make_trainer(
        settings, Prepared(tokenizer, task_of(settings), data, BadLines(skip=False))
    )


def _resident(name: str) -> float:
    """MiB, by the kernel's name."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"the kernel tells no {name}")


def save_policy(folder: Path, size: str) -> None:
    """A random policy whose tokens are words."""
    from reward_models import save_model
    from transformers import AutoConfig, AutoModelForCausalLM

    save_model(folder, size)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)


def forked(work: Callable[..., Any], *arguments: object) -> Any:
    """What `work` returns in a process of its own, which has the heavy libraries already."""
    mine, its = FORK.Pipe(duplex=False)

    def run() -> None:
        its.send(work(*arguments))

    process = FORK.Process(target=run)
    process.start()
    its.close()
    try:
        return mine.recv()
    finally:
        process.join()


def import_libraries() -> None:
    """They are imported, and nothing is computed: torch's threads would not survive a fork."""
    import reward_models  # noqa: F401

    import trainers.reward.run
    import trainers.sft.run  # noqa: F401


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="small", help="tiny, small or 90M")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8, help="conversations, or pairs, an update")
    parser.add_argument("--skip", help="leave out arms with this in their names")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="one step of a tiny model")
    options = parser.parse_args()
    if options.smoke:
        options.size, options.rounds, options.steps, options.batch = "tiny", 1, 1, 2
    os.environ["OMP_NUM_THREADS"] = "1"
    import_libraries()
    found: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        forked(save_policy, folder, options.size)
        for _ in range(options.rounds):
            for trainer, arms in ARMS.items():
                for arm in arms:
                    if options.skip and options.skip in arm:
                        continue
                    row = forked(train, trainer, arm, folder, options.steps, options.batch)
                    found[trainer, arm].append(row)
    print(f"{'trainer':8} {'arm':24} {'peak MiB':>9} {'above':>7} {'to first':>8} "
          f"{'tokens/s':>9} {'to first':>8}")  # fmt: skip
    for (trainer, arm), rows in found.items():
        first = found[trainer, next(iter(ARMS[trainer]))]
        pairs = list(zip(rows, first, strict=True))
        memory = statistics.median(one["above"] / other["above"] for one, other in pairs)
        speed = statistics.median(one["tokens_s"] / other["tokens_s"] for one, other in pairs)
        peak, above, tokens = (
            statistics.median(row[key] for row in rows) for key in ("peak", "above", "tokens_s")
        )
        print(f"{trainer:8} {arm:24} {peak:9.0f} {above:7.0f} {memory:8.2f} {tokens:9.0f} "
              f"{speed:8.2f}")  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps({" / ".join(k): v for k, v in found.items()}))


if __name__ == "__main__":
    main()
