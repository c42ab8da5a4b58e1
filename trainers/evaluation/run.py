"""`bon-train evaluate`: how often a reward model is right, and what choosing by it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from trainers.commands import RunContext
from trainers.data import Message
from trainers.demo.gold import gold
from trainers.dpo.divergence import read_prompts
from trainers.evaluation.accuracy import Scored, accuracy, by_gap, by_section
from trainers.evaluation.bench_files import judge_pairs, run_reward_bench, run_reward_bench_2
from trainers.evaluation.best_of_n import best_of_n
from trainers.evaluation.calibration import calibration
from trainers.evaluation.figures import WIDE_GAP, Figures
from trainers.evaluation.settings import EvaluateSettings
from trainers.reward.judge import Judge
from trainers.runtime.models import load_tokenizer
from trainers.sampling import sample_answers

HINT = "cut_prompts cuts the start of the prompt"


def run(settings: EvaluateSettings, context: RunContext) -> dict[str, float]:
    """`bon-train evaluate`."""
    del context
    return evaluate(settings).table()


def evaluate(settings: EvaluateSettings) -> Figures:
    """Measure all that the settings name, write `settings.output`, and return the figures.

    Raises DataError naming a bad line, ModelError for a model that cannot be had.
    """
    judge = _judge(settings)
    found: dict[str, Any] = {}
    if settings.pairs is not None:
        found |= _of_pairs(judge_pairs(judge, settings.pairs), settings)
    if settings.reward_bench is not None:
        prior = settings.reward_bench_prior
        found["reward_bench"] = run_reward_bench(judge, settings.reward_bench, prior)
    if settings.reward_bench_2 is not None:
        found["reward_bench_2"] = run_reward_bench_2(judge, settings.reward_bench_2)
    if settings.policy is not None:
        drawn = draw(settings)
        found |= _of_answers(drawn, judge, settings)
    figures = Figures(**found, cut=judge.cut)
    figures.write(settings.output)
    return figures


def score_pairs(settings: EvaluateSettings) -> list[Scored]:
    """Both rewards of every pair, in the order of the file."""
    assert settings.pairs is not None
    return judge_pairs(_judge(settings), settings.pairs)


def _judge(settings: EvaluateSettings) -> Judge:
    return Judge.load(
        settings.reward,
        device=settings.device,
        batch_size=settings.batch_size,
        label_weights=settings.label_weights,
        how=settings.ensemble,
        cut_prompts=settings.cut_prompts,
        hint=HINT,
    )


def _of_pairs(scored: Sequence[Scored], settings: EvaluateSettings) -> dict[str, Any]:
    rewards = [value for pair in scored for value in (pair.chosen, pair.rejected)]
    wide = [pair for pair in scored if pair.margin is not None and pair.margin >= WIDE_GAP]
    differences = [pair.chosen - pair.rejected for pair in scored]
    return {
        "accuracy": accuracy(scored),
        "accuracy_wide_gap": accuracy(wide) if wide else None,
        "pairs": len(scored),
        "reward_mean": fmean(rewards),
        "reward_std": pstdev(rewards),
        "by_gap": by_gap(scored, settings.gap_edges),
        "by_section": by_section(scored),
        "calibration": calibration(differences, settings.calibration_bins),
    }


@dataclass(frozen=True)
class Drawn:
    """The answers of a policy."""

    prompts: list[list[Message]]
    answers: list[list[str]]
    """As many for each prompt as were asked for."""

    @property
    def conversations(self) -> list[list[Message]]:
        """All answers with their prompts, prompt by prompt."""
        return [
            [*prompt, Message(role="assistant", content=text)]
            for prompt, texts in zip(self.prompts, self.answers, strict=True)
            for text in texts
        ]


def draw(settings: EvaluateSettings) -> Drawn:
    """Sample from the policy that the settings name."""
    assert settings.policy is not None
    assert settings.prompts is not None
    prompts = read_prompts(settings.prompts, load_tokenizer(settings.policy))
    answers = sample_answers(
        settings.policy,
        prompts,
        settings.samples,
        seed=settings.seed,
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.batch_size,
        device=settings.device,
    )
    return Drawn(prompts, answers)


def _of_answers(drawn: Drawn, judge: Judge, settings: EvaluateSettings) -> dict[str, Any]:
    own = _by_prompt(judge.rewards(_placed(drawn, settings)), settings.samples)
    true = _by_prompt(_gold(drawn, settings), settings.samples)
    return {
        "best_of_n": _curve(own, true, settings.sizes),
        "best_of_n_own": _curve(own, own, settings.sizes),
        "best_of_n_oracle": _curve(true, true, settings.sizes),
        "prompts": len(drawn.prompts),
        "samples": settings.samples,
    }


def _placed(drawn: Drawn, settings: EvaluateSettings) -> list[tuple[str, list[Message]]]:
    return [(f"{settings.prompts}: a sampled answer", turns) for turns in drawn.conversations]


def _gold(drawn: Drawn, settings: EvaluateSettings) -> list[float]:
    """What each answer is truly worth, by the demo world's rule or another reward model."""
    if settings.gold_reward is None:
        return [gold(turns[:-1], turns[-1]["content"]).total for turns in drawn.conversations]
    other = Judge.load(
        settings.gold_reward,
        device=settings.device,
        batch_size=settings.batch_size,
        cut_prompts=settings.cut_prompts,
        hint=HINT,
    )
    return other.rewards(_placed(drawn, settings))


def _by_prompt(values: Sequence[float], samples: int) -> list[Sequence[float]]:
    return [values[start : start + samples] for start in range(0, len(values), samples)]


def _curve(
    choosing: Sequence[Sequence[float]], judging: Sequence[Sequence[float]], sizes: Sequence[int]
) -> dict[int, float]:
    """For each n the mean over the prompts of best-of-n by one reward, judged by another."""
    return {
        n: fmean(best_of_n(one, other, n) for one, other in zip(choosing, judging, strict=True))
        for n in sizes
    }
