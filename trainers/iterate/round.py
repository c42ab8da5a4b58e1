"""One round: answers, pairs, tuning. Each step is skipped where its files are there already."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.base.context import RunContext
from trainers.base.data import Conversation, data_hash
from trainers.base.errors import DataError
from trainers.base.files import read_json, write_json, write_lines
from trainers.base.seeds import mixed_seed
from trainers.base.settings import TemplateSettings
from trainers.base.tokenizer import training_tokenizer
from trainers.dpo.run import train_dpo
from trainers.dpo.settings import DpoSettings
from trainers.iterate.endpoint import EndpointSampler
from trainers.iterate.labelling import (
    Labelled,
    RewardedPrompt,
    always,
    drawn_labels,
    label,
    rewarded,
)
from trainers.iterate.measure import measure
from trainers.iterate.samplers import InProcessSampler, RoundSampler
from trainers.iterate.settings import IterateSettings
from trainers.policy.drawing import DrawnAnswer
from trainers.rewards.answers import AnswerScorer
from trainers.rewards.opening import open_scorer
from trainers.runtime.arguments import CHECKPOINTS

BLOCK = 256
"""Prompts whose answers are kept together: what a killed run draws again at most."""


@dataclass(frozen=True)
class Round:
    """A round and its files in `rounds/N` of the output.

    Each file is there whole or not at all, so that a killed run goes on behind it.
    """

    settings: IterateSettings
    number: int
    """Counted from 0."""
    start: str
    """The policy to sample from and to tune: a checkpoint folder, or a hub name in round 0."""
    context: RunContext

    @property
    def folder(self) -> Path:
        return self.settings.output / "rounds" / str(self.number)

    @property
    def policy(self) -> Path:
        """What DPO makes of the round's pairs."""
        return self.folder / "policy"

    @property
    def revision(self) -> str | None:
        """Of `start`, on the hub."""
        return self.settings.revision if self.number == 0 else None

    @property
    def template(self) -> TemplateSettings:
        """How the round's texts become tokens. A later round's start has the template already, so
        that its name is no name any more."""
        given = self.settings.model_dump(include=set(TemplateSettings.model_fields))
        named = given["chat_template"]
        if self.number and named is not None and not named.is_file():
            given["chat_template"] = None
        return TemplateSettings.model_validate(given)

    def record(self, prompts: Sequence[Conversation]) -> dict[str, Any]:
        """The round's entry in `rounds.json`; runs the round unless it is complete.

        Raises DataError if no pair of answers is left to learn from.
        """
        path = self.folder / "round.json"
        if not path.exists():
            write_json(path, self._run(prompts))
        entry: dict[str, Any] = read_json(path)
        return entry

    def choose(self, prompts: Sequence[Conversation]) -> list[Conversation]:
        """The prompts of the round, a function of the seed and its number alone."""
        count = min(self.settings.prompts_per_round or len(prompts), len(prompts))
        return random.Random(self._seed("prompts")).sample(list(prompts), count)

    def sampler(self) -> RoundSampler:
        """Where the round draws its answers from."""
        if self.settings.endpoint is not None:
            return EndpointSampler(self.settings, self.settings.endpoint, self.number)
        tokenizer = training_tokenizer(self.start, self.revision, self.template)
        return InProcessSampler(self.settings, self.start, self.revision, tokenizer)

    def scorer(self) -> AnswerScorer:
        return open_scorer(self.settings.reward, batch_size=self.settings.sample_batch_size)

    def _seed(self, purpose: int | str) -> int:
        return mixed_seed(self.settings.seed, self.number, purpose)

    def _run(self, prompts: Sequence[Conversation]) -> dict[str, Any]:
        settings = self.settings
        chosen = self.choose(prompts)
        rows, sampled_from = self._sample(chosen)
        labelled = self._label(rows)
        if not labelled.pairs:
            raise DataError(
                f"{self.folder / 'answers'}: round {self.number} gave no pair to learn from"
            )
        reference = self.start if settings.reference == "previous" else settings.model
        figures = self._tune(reference)
        return {
            "round": self.number,
            "start": self.start,
            "reference": reference,
            "sampling": {
                **sampled_from,
                "temperature": settings.temperature,
                "samples": settings.samples,
                "max_new_tokens": settings.max_new_tokens,
            },
            "prompts": len(chosen),
            "pairs": len(labelled.pairs),
            "pairs_sha256": data_hash(self.folder / "pairs.jsonl"),
            "left_out": labelled.left_out,
            "reward of an answer": labelled.mean_reward,
            "reward of the best answer": labelled.mean_best,
            "dpo": figures,
            "after": self._measure(),
            "policy": str(self.policy),
        }

    def _sample(
        self, prompts: Sequence[Conversation]
    ) -> tuple[list[RewardedPrompt], dict[str, Any]]:
        """Answers and rewards to every prompt, and what they were sampled from; read from the disk
        as far as they are there."""
        folder, endpoint = self.folder / "answers", self.settings.endpoint
        source = folder / "source.json"
        blocks = [prompts[i : i + BLOCK] for i in range(0, len(prompts), BLOCK)]
        paths = [folder / f"{index:05}.json" for index in range(len(blocks))]
        missing = [index for index, path in enumerate(paths) if not path.exists()]
        if missing or not source.exists():
            if endpoint is not None:
                chat = endpoint.for_round(self.number)
                self.context.show(f"round {self.number}: waiting for {chat.model} at {chat.url}")
            sampler, scorer = self.sampler(), self.scorer()
            for index in missing:
                self.context.show(
                    f"round {self.number}: sampling block {index + 1} of {len(blocks)}"
                )
                answers = sampler.sample(blocks[index], self._seed(index))
                write_json(paths[index], _rewarded(scorer, blocks[index], answers))
            write_json(source, dict(sampler.describe()))
        return [row for path in paths for row in read_json(path)], read_json(source)

    def _label(self, rows: Sequence[RewardedPrompt]) -> Labelled:
        """Label and write `pairs.jsonl`; the same answers give the same file."""
        drawn = self.settings.labels == "drawn"
        prefer = drawn_labels(self._seed("labels")) if drawn else always
        labelled = label(rows, min_gap=self.settings.min_gap, prefer=prefer)
        write_lines(self.folder / "pairs.jsonl", labelled.pairs)
        return labelled

    def tuning(self, reference: str) -> DpoSettings:
        """How the round's policy is tuned, against a frozen `reference`."""
        other = reference != self.start
        own = {
            "model": self.start,
            "revision": self.revision,
            "train": self.folder / "pairs.jsonl",
            "output": self.policy,
            "seed": self._seed("dpo") >> 32,
            **self.template.model_dump(),
            "reference": reference if other else None,
            "reference_revision": self.settings.revision if other else None,
        }
        return DpoSettings.model_validate({**self.settings.dpo, **own})

    def _tune(self, reference: str) -> dict[str, float]:
        """DPO on the round's pairs; goes on from a checkpoint where there is one."""
        # What lies there is this round's own, from before the run was killed.
        begun = (self.policy / CHECKPOINTS).exists()
        inner = RunContext(
            self.context.command, resume=begun, overwrite=not begun, show=self.context.show
        )
        return train_dpo(self.tuning(reference), inner)

    def _measure(self) -> dict[str, float]:
        """Reward, distance from the start of all rounds, and wins over it, on `eval_prompts`."""
        if self.settings.eval_prompts is None:
            return {}
        return measure(self.settings, self.policy, self.scorer(), self.folder.parent)


def _rewarded(
    scorer: AnswerScorer, prompts: Sequence[Conversation], answers: Sequence[Sequence[DrawnAnswer]]
) -> list[RewardedPrompt]:
    both = list(zip(prompts, answers, strict=True))
    asked = [prompt for prompt, row in both for _ in row]
    rewards = iter(scorer.score_answers(asked, [one.message for _, row in both for one in row]))
    return [
        rewarded(
            prompt,
            [{"message": one.message, "ended": one.ended, "reward": next(rewards)} for one in row],
        )
        for prompt, row in both
    ]
