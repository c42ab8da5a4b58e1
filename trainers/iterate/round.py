"""One round: answers, pairs, tuning. Each step is skipped where its files are there already."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainers.base.context import RunContext
from trainers.base.data import Message
from trainers.base.files import read_json, write_json, write_lines
from trainers.base.seeds import mixed_seed
from trainers.dpo.run import train_dpo
from trainers.dpo.settings import DpoSettings
from trainers.iterate.endpoint import EndpointSampler
from trainers.iterate.files import RoundFolder
from trainers.iterate.labelling import Labelled, always, drawn_labels, label
from trainers.iterate.samplers import Answer, InProcessSampler, Sampler
from trainers.iterate.settings import IterateSettings
from trainers.rewards.scorer import RewardScorer
from trainers.runtime.arguments import CHECKPOINTS

BLOCK = 256
"""Prompts whose answers are kept together: what a killed run draws again at most."""


@dataclass(frozen=True)
class Scored:
    """All answers of a round with their rewards, one row a prompt."""

    prompts: list[list[Message]]
    answers: list[list[Answer]]
    rewards: list[list[float]]
    sampled_from: Mapping[str, Any]


def make_sampler(
    settings: IterateSettings, number: int, policy: str, revision: str | None
) -> Sampler:
    """Where round `number` draws its answers from."""
    if settings.endpoint is not None:
        return EndpointSampler(settings, settings.endpoint, number)
    return InProcessSampler(settings, policy, revision)


def choose_prompts(
    settings: IterateSettings, number: int, prompts: Sequence[list[Message]]
) -> list[list[Message]]:
    """The prompts of a round, a function of the seed and its number alone."""
    count = min(settings.prompts_per_round or len(prompts), len(prompts))
    rng = random.Random(mixed_seed(settings.seed, number, "prompts"))
    return rng.sample(list(prompts), count)


def sample_and_score(
    settings: IterateSettings,
    number: int,
    files: RoundFolder,
    prompts: Sequence[list[Message]],
    policy: str,
    context: RunContext,
) -> Scored:
    """Answers and rewards to every prompt, read from the disk as far as they are there."""
    source = files.answers / "source.json"
    revision = settings.revision if number == 0 else None
    blocks = [prompts[i : i + BLOCK] for i in range(0, len(prompts), BLOCK)]
    paths = [files.answers / f"{index:05}.json" for index in range(len(blocks))]
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    if missing or not source.exists():
        if settings.endpoint is not None:
            chat = settings.endpoint.for_round(number)
            context.show(f"round {number}: waiting for {chat.model} at {chat.url}")
        sampler = make_sampler(settings, number, policy, revision)
        scorer = RewardScorer.load(settings.reward, batch_size=settings.sample_batch_size)
        for index in missing:
            context.show(f"round {number}: sampling block {index + 1} of {len(blocks)}")
            rows = sampler.sample(blocks[index], mixed_seed(settings.seed, number, index))
            write_json(paths[index], _scored_block(scorer, blocks[index], rows))
        write_json(source, dict(sampler.describe()))
    known: list[dict[str, Any]] = [row for path in paths for row in read_json(path)]
    return Scored(
        prompts=[row["prompt"] for row in known],
        answers=[[Answer(a["text"], a["ended"]) for a in row["answers"]] for row in known],
        rewards=[[a["reward"] for a in row["answers"]] for row in known],
        sampled_from=read_json(source),
    )


def _scored_block(
    scorer: RewardScorer,
    prompts: Sequence[list[Message]],
    answers: Sequence[Sequence[Answer]],
) -> list[dict[str, Any]]:
    asked = [prompt for prompt, row in zip(prompts, answers, strict=True) for _ in row]
    rewards = iter(scorer.score_answers(asked, [answer.text for row in answers for answer in row]))
    return [
        {
            "prompt": prompt,
            "answers": [
                {"text": answer.text, "ended": answer.ended, "reward": next(rewards)}
                for answer in row
            ],
        }
        for prompt, row in zip(prompts, answers, strict=True)
    ]


def make_pairs(
    settings: IterateSettings, number: int, files: RoundFolder, scored: Scored
) -> Labelled:
    """Label and write `pairs.jsonl`; the same answers give the same file."""
    seed = mixed_seed(settings.seed, number, "labels")
    labelled = label(
        scored.prompts,
        scored.answers,
        scored.rewards,
        min_gap=settings.min_gap,
        prefer=drawn_labels(seed) if settings.labels == "drawn" else always,
    )
    write_lines(files.pairs, labelled.pairs)
    return labelled


def tune(
    settings: IterateSettings,
    number: int,
    files: RoundFolder,
    start: str,
    reference: str,
    context: RunContext,
) -> dict[str, float]:
    """DPO from `start` on the round's pairs; goes on from a checkpoint where there is one."""
    own = {
        "model": start,
        "revision": settings.revision if number == 0 else None,
        "train": files.pairs,
        "output": files.policy,
        "seed": mixed_seed(settings.seed, number, "dpo") >> 32,
        "reference": None if reference == start else reference,
        "reference_revision": None if reference == start else settings.revision,
    }
    # What lies there is this round's own, from before the run was killed.
    begun = (files.policy / CHECKPOINTS).exists()
    inner = RunContext(context.command, resume=begun, show=context.show)
    return train_dpo(DpoSettings.model_validate({**settings.dpo, **own}), inner)
