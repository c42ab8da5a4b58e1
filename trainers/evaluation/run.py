"""`bon-train evaluate`: how often a reward model is right, and what best-of-n by it is worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from bon_common.best_of_n import best_of_n
from trainers.base.bad_lines import BadLines
from trainers.base.context import RunContext
from trainers.base.data import read_placed
from trainers.base.intervals import bootstrap
from trainers.base.outputs import claim_files
from trainers.base.tokenizer import training_tokenizer
from trainers.evaluation.bench_files import run_reward_bench, run_reward_bench_2
from trainers.evaluation.figures import WIDE_GAP, Figures
from trainers.evaluation.settings import EvaluateSettings
from trainers.policy.divergence import checked_prompts
from trainers.policy.drawing import PolicySampler
from trainers.rewards.accuracy import ScoredPair, accuracy, by_gap, by_section
from trainers.rewards.answers import AnswerScorer, Placed
from trainers.rewards.calibration import Calibration
from trainers.rewards.gold import Gold, load_gold
from trainers.rewards.one import OneModel
from trainers.rewards.opening import open_scorer
from trainers.rewards.pairs import scored_pairs
from trainers.rewards.settings import RewardSource
from trainers.rewards.steps import LabelledSteps, StepFigures, scored_steps, step_figures


def run(settings: EvaluateSettings, context: RunContext) -> dict[str, float]:
    """`bon-train evaluate`."""
    benches = (settings.reward_bench, settings.reward_bench_2)
    files = (settings.pairs, *benches, settings.steps, settings.prompts)
    made = [settings.output, settings.page]
    claim_files(made, context, inputs=[path for path in files if path is not None])
    bad = BadLines(skip=settings.skip_bad)
    figures = evaluate(settings, bad)
    bad.report(context.show)
    return figures.table()


def evaluate(settings: EvaluateSettings, bad: BadLines | None = None) -> Figures:
    """Measure all that the settings name, write `settings.output`, and return the figures. `bad`
    counts what is skipped and what is not read.

    Raises DataError naming a bad line, ModelError for a model that cannot be loaded, SettingsError
    for a `gold` that does not exist.
    """
    # A missing function is an error before anything is scored.
    gold = None if settings.gold is None else load_gold(settings.gold)
    scorer = _own_scorer(settings)
    bad = bad or BadLines(skip=settings.skip_bad)
    found: dict[str, Any] = {}
    if settings.pairs is not None:
        found |= _of_pairs(scored_pairs(scorer, settings.pairs, bad), settings)
    if settings.reward_bench is not None:
        prior = settings.reward_bench_prior
        found["reward_bench"] = run_reward_bench(scorer, settings.reward_bench, prior, bad)
    if settings.reward_bench_2 is not None:
        found["reward_bench_2"] = run_reward_bench_2(scorer, settings.reward_bench_2, bad)
    if settings.steps is not None:
        found["steps"] = _of_steps(settings, settings.steps, bad)
    if settings.policy is not None:
        found |= _of_answers(_answered(settings, bad), scorer, gold, settings)
    figures = Figures(**found, cut=scorer.cut, left_out=bad.figures())
    figures.write(settings.output)
    return figures


def score_pairs(settings: EvaluateSettings) -> list[ScoredPair]:
    """Both rewards of every pair, in the order of the file."""
    assert settings.pairs is not None
    bad = BadLines(skip=settings.skip_bad)
    return scored_pairs(_own_scorer(settings), settings.pairs, bad)


def _own_scorer(settings: EvaluateSettings) -> AnswerScorer:
    weights, how = settings.label_weights, settings.ensemble
    return _scorer(settings, settings.reward, label_weights=weights, how=how)


def _scorer(settings: EvaluateSettings, source: RewardSource, **choice: Any) -> AnswerScorer:
    return open_scorer(
        source,
        device=settings.device,
        batch_size=settings.batch_size,
        cut_prompts=settings.cut_prompts,
        hint="cut_prompts cuts the start of the prompt",
        **choice,
    )


def _of_pairs(scored: Sequence[ScoredPair], settings: EvaluateSettings) -> dict[str, Any]:
    rewards = [value for pair in scored for value in (pair.chosen, pair.rejected)]
    wide = [pair for pair in scored if pair.margin is not None and pair.margin >= WIDE_GAP]
    differences = [pair.chosen - pair.rejected for pair in scored]
    return {
        "accuracy": accuracy(scored),
        "accuracy_wide_gap": accuracy(wide) if wide else None,
        "pairs": len(scored),
        "pairs_wide_gap": len(wide),
        "reward_mean": fmean(rewards),
        "reward_std": pstdev(rewards),
        "by_gap": by_gap(scored, settings.gap_edges),
        "by_section": by_section(scored),
        "calibration": Calibration.of(differences, settings.calibration_bins),
    }


def _of_steps(settings: EvaluateSettings, path: Path, bad: BadLines) -> StepFigures:
    """Figures of the steps' own scores, which only a folder's model gives."""
    assert settings.reward_folder is not None, "the settings say so"
    model = OneModel.load(settings.reward_folder, device=settings.device)
    records = read_placed(LabelledSteps, path, bad)
    return step_figures(scored_steps(model, records, settings.batch_size, bad))


def _answered(settings: EvaluateSettings, bad: BadLines) -> list[Placed]:
    """Answers of the policy that the settings name, each with its prompt, prompt by prompt."""
    assert settings.policy is not None
    sampler = PolicySampler(
        settings.policy,
        device=settings.device,
        tokenizer=training_tokenizer(str(settings.policy), None, settings),
        thinking=settings.thinking,
    )
    prompts = checked_prompts(settings.prompts, sampler.tokenizer, bad, judged=True)
    answers = sampler.draw(
        prompts,
        settings.samples,
        seed=settings.seed,
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.batch_size,
    )
    where = f"{settings.prompts}: a sampled answer"
    return [
        (where, prompt.answered([answer.message]))
        for prompt, row in zip(prompts, answers, strict=True)
        for answer in row
    ]


def _of_answers(
    placed: list[Placed], scorer: AnswerScorer, gold: Gold | None, settings: EvaluateSettings
) -> dict[str, Any]:
    own = _by_prompt(scorer.rewards(placed), settings.samples)
    true = _by_prompt(_golds(placed, gold, settings), settings.samples)
    judged = _chosen(own, true, settings.sizes)
    return {
        "judge": "gold" if gold is not None else "the judging reward model",
        "best_of_n": _means(judged),
        "best_of_n_interval": {n: bootstrap(values) for n, values in judged.items()},
        "best_of_n_own": _means(_chosen(own, own, settings.sizes)),
        "best_of_n_oracle": _means(_chosen(true, true, settings.sizes)),
        "prompts": len(own),
        "samples": settings.samples,
    }


def _golds(placed: list[Placed], gold: Gold | None, settings: EvaluateSettings) -> list[float]:
    """The true reward of each answer, by a function or by another reward model."""
    if gold is not None:
        judged = (one.messages for _, one in placed)
        return [gold(turns[:-1], turns[-1]["content"]) for turns in judged]
    assert settings.judge_reward is not None, "the settings name one of the two"
    return _scorer(settings, settings.judge_reward).rewards(placed)


def _by_prompt(values: Sequence[float], samples: int) -> list[Sequence[float]]:
    return [values[start : start + samples] for start in range(0, len(values), samples)]


def _chosen(
    choosing: Sequence[Sequence[float]], judging: Sequence[Sequence[float]], sizes: Sequence[int]
) -> dict[int, list[float]]:
    """Best-of-n of each prompt for each n, choosing by one reward and judging by another."""
    return {
        n: [best_of_n(one, other, n) for one, other in zip(choosing, judging, strict=True)]
        for n in sizes
    }


def _means(by_n: Mapping[int, Sequence[float]]) -> dict[int, float]:
    return {n: fmean(values) for n, values in by_n.items()}
