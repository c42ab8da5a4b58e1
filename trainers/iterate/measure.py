"""How good the policy of a round is: its reward, its distance from the start of all rounds, and how
often the reward model prefers its answer to the start's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from trainers.base.bad_lines import BadLines
from trainers.base.data import Conversation
from trainers.base.files import read_json, write_json
from trainers.base.loading import load_tokenizer
from trainers.base.tokenizer import training_tokenizer
from trainers.iterate.settings import IterateSettings
from trainers.policy.divergence import checked_prompts, measure_divergence
from trainers.policy.drawing import PolicySampler
from trainers.rewards.answers import AnswerScorer

REWARD, WINS = "reward", "share of prompts won against the start"
START = "start.json"
"""The rewards of the start's answers, beside the rounds."""


def measure(
    settings: IterateSettings, policy: Path, scorer: AnswerScorer, rounds: Path
) -> dict[str, float]:
    """One answer to each of `eval_prompts`, by the round's policy and by the start; that one's
    rewards are kept in the folder `rounds`."""
    bad = BadLines(skip=settings.skip_bad)  # counted when the run began
    prompts = checked_prompts(settings.eval_prompts, load_tokenizer(policy), bad)
    divergence, answers = measure_divergence(
        policy,
        settings.model,
        prompts,
        revision=settings.revision,
        seed=settings.seed,
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.sample_batch_size,
        thinking=settings.thinking,
    )
    rewards = scorer.score_answers(prompts, answers)
    before = _start_rewards(settings, prompts, scorer, rounds / START)
    return {**divergence.table(), REWARD: fmean(rewards), WINS: share_won(rewards, before)}


def share_won(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Prompts on which ours is higher; equal rewards are half a win each."""
    return fmean((a > b) + (a == b) / 2 for a, b in zip(ours, theirs, strict=True))


def _start_rewards(
    settings: IterateSettings, prompts: Sequence[Conversation], scorer: AnswerScorer, path: Path
) -> list[float]:
    if not path.exists():
        tokenizer = training_tokenizer(settings.model, settings.revision, settings)
        sampler = PolicySampler(
            settings.model,
            settings.revision,
            device="auto",
            tokenizer=tokenizer,
            thinking=settings.thinking,
        )
        drawn = sampler.draw(
            prompts,
            seed=settings.seed,
            max_new_tokens=settings.max_new_tokens,
            batch_size=settings.sample_batch_size,
        )
        answers = [answer.message for [answer] in drawn]
        write_json(path, {"rewards": scorer.score_answers(prompts, answers)})
    rewards: list[float] = read_json(path)["rewards"]
    return rewards
