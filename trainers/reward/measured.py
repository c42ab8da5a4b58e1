"""How the rewards of a model that was just trained spread: for `rm_meta.json`."""

import random
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from reward_server.network.sequence import Rendered
from trainers.reward.data import TrainingData
from trainers.reward.settings import RewardTrainSettings
from trainers.rewards.meta import Dimension, RewardMeta, Spread, template_hash
from trainers.rewards.one import OneModel


def measured_meta(
    settings: RewardTrainSettings, tokenizer: Any, data: TrainingData, hashes: Mapping[str, str]
) -> RewardMeta:
    """The model's description, with the spread of its rewards over training answers.

    The answers are scored with the model as it was written.
    """
    steps = settings.steps.reading if settings.objective == "stepwise" else None
    scorer = OneModel.load(
        settings.output, device="auto", label_weights=settings.dimensions, steps=steps
    )
    answers = _some_answers(data, settings.statistics_over)
    if steps is None:
        outputs = scorer.outputs(answers, settings.batch_size)
        reward = outputs @ torch.tensor(scorer.weights)
        dimensions = _dimensions(settings, scorer, outputs)
    else:
        reward, dimensions = scorer.rewards(answers, settings.batch_size), []
    return RewardMeta(
        normalisation=Spread(*_mean_and_std(reward), len(answers)),
        dimensions=dimensions,
        objective=settings.objective,
        answers_per_prompt=data.most_answers,
        max_length=settings.max_length,
        chat_template_sha256=template_hash(tokenizer.chat_template),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        data=dict(hashes),
        steps=None if steps is None else asdict(steps),
    )


def _dimensions(
    settings: RewardTrainSettings, scorer: OneModel, outputs: torch.Tensor
) -> list[Dimension]:
    names = list(settings.dimensions or scorer.model.labels)
    return [
        Dimension(name, weight, *_mean_and_std(outputs[:, index]))
        for index, (name, weight) in enumerate(zip(names, scorer.weights, strict=True))
    ]


def _some_answers(data: TrainingData, count: int) -> list[Rendered]:
    """At most `count` of the training answers, the same ones in every run."""
    places = [(row, i) for row in data.rows for i in range(len(row["sequences"]))]
    if len(places) > count:
        places = random.Random(0).sample(places, count)
    return [
        Rendered(
            tuple(row["sequences"][i]),
            prompt_tokens=0,
            token_types=tuple(row["token_types"][i]) if "token_types" in row else None,
            reads=tuple(row.get("reads", ())),
        )
        for row, i in places
    ]


def _mean_and_std(values: torch.Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std(correction=0))
