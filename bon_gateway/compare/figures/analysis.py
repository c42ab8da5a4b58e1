"""Everything that was measured, turned into Results. Pure."""

from __future__ import annotations

from dataclasses import replace

import bon_gateway
from bon_common.settings.errors import SettingsError
from bon_gateway.compare.ask.run import Measured
from bon_gateway.compare.ask.selecting import repeats_selection
from bon_gateway.compare.figures.arms import arm_figures
from bon_gateway.compare.figures.base_curve import base_curve, curve_points
from bon_gateway.compare.figures.choices import ChoiceColumns, choice_columns
from bon_gateway.compare.figures.decision import tuned_figures
from bon_gateway.compare.figures.differences import (
    Columns,
    differences,
    quality_columns,
    way_to_oracle,
)
from bon_gateway.compare.figures.economics import training_money
from bon_gateway.compare.figures.examples import example_pairs, examples
from bon_gateway.compare.figures.material import Material, material
from bon_gateway.compare.figures.quality import pareto
from bon_gateway.compare.figures.results import Arm, Choice, Results
from bon_gateway.compare.figures.same_policy import base_policy_of
from bon_gateway.compare.figures.setup import setup
from bon_gateway.compare.figures.verdict import verdict
from bon_gateway.compare.figures.warnings import choice_warnings, warnings
from bon_gateway.compare.greedy import greedy_of
from bon_gateway.compare.settings import CompareSettings


def analyse(settings: CompareSettings, measured: Measured, prompts: int) -> Results:
    """Raises SettingsError if no prompt was asked of every arm."""
    found = material(settings, measured.records, measured.scores)
    if not found.prompts:
        raise SettingsError(str(settings.output), "", "no prompt was asked of every arm yet")
    same = {name: base_policy_of(found, name) for name in settings.arms}
    arms = tuple(
        arm_figures(found, name, measured.highest_rates.get(name), same[name])
        for name in settings.arms
    )
    primary = settings.quality.primary
    columns = quality_columns(found)
    every = {name: choice_columns(found, name) for name in columns}
    pools = {name: choice for name, choice in every.items() if choice is not None}
    choices = [_choice(found, arm, columns, pools[arm.name]) for arm in arms if arm.name in pools]
    curve = base_curve(found)
    tuned = []
    for arm in arms:
        if arm.training is not None and curve is not None and arm.answered:
            training = settings.training[arm.training]
            money = training_money(training, measured.training_s.get(arm.training, 0.0))
            figures = tuned_figures(found, curve, arm.name, money, arm.same_as_base)
            if figures is not None:
                tuned.append(figures)
    shown = (examples(found, pair, measured.prompts) for pair in example_pairs(found, arms))
    places = {
        arm.name: (arm.cost.value, quality.value)
        for arm in arms
        if arm.cost is not None and (quality := arm.quality[primary]) is not None
    }
    notes = warnings(arms, primary, complete=measured.complete)
    notes += choice_warnings(choices)
    notes += [
        f"{scorer} gives every answer the reward by which the gateway chose it: it is no held-out"
        " scorer, or the reward model is the truth."
        for scorer in settings.quality.scorers
        if repeats_selection(scorer, [r for of in found.records.values() for r in of], found.scores)
    ]
    notes += [
        f"{count} scores of {scorer} failed and are missing."
        for scorer, count in sorted(measured.scores.failed.items())
    ]
    target = settings.target
    results = Results(
        title="Best-of-N or a tuned policy",
        version=bon_gateway.__version__,
        complete=measured.complete,
        planned=measured.planned,
        measured=sum(arm.asked for arm in arms),
        prompts=prompts,
        paired_prompts=len(found.prompts),
        primary=primary,
        against=settings.against,
        confidence=settings.confidence,
        currency=settings.prices.currency,
        requests_per_day=settings.requests_per_day,
        target=None
        if target is None
        else {"latency_ms": target.latency_ms, "quantile": target.quantile},
        arms=arms,
        curve=() if curve is None else curve_points(curve, found, columns),
        curve_source="" if curve is None else curve.source,
        pareto=tuple(pareto(places)),
        tuned=tuple(tuned),
        choices=tuple(choices),
        differences=tuple(differences(found, columns, pools)),
        examples=tuple(one for one in shown if one is not None),
        measured_at=measured.measured_at,
        setup=setup(settings),
        warnings=tuple(notes),
    )
    return replace(results, verdict=tuple(verdict(results)))


def _choice(material: Material, arm: Arm, columns: Columns, pool: ChoiceColumns) -> Choice:
    greedy = greedy_of(material.settings, arm.name)
    resamples, ours = material.resamples, columns[arm.name]
    below = None if greedy is None else columns.get(greedy)
    return Choice(
        arm=arm.name,
        n=arm.n,
        random=resamples.mean(pool.random),
        oracle=resamples.mean(pool.oracle),
        way=None if below is None else way_to_oracle(resamples, ours, below, pool.oracle),
        unknown=pool.unknown,
    )
