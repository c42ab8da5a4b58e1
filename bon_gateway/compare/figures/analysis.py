"""Everything that was measured, turned into Results. Pure."""

from __future__ import annotations

from dataclasses import replace

import bon_gateway
from bon_common.settings.errors import SettingsError
from bon_gateway.compare.ask.run import Measured
from bon_gateway.compare.figures.arms import arm_figures, material
from bon_gateway.compare.figures.decision import base_curve, curve_points, tuned_figures
from bon_gateway.compare.figures.economics import training_money
from bon_gateway.compare.figures.quality import pareto
from bon_gateway.compare.figures.results import Results
from bon_gateway.compare.figures.words import verdict, warnings
from bon_gateway.compare.settings import CompareSettings


def analyse(settings: CompareSettings, measured: Measured, prompts: int) -> Results:
    """Raises SettingsError if no prompt was asked of every arm."""
    found = material(settings, measured.records, measured.scores)
    if not found.prompts:
        raise SettingsError(str(settings.output), "", "no prompt was asked of every arm yet")
    arms = tuple(
        arm_figures(found, name, measured.highest_rates.get(name)) for name in settings.arms
    )
    primary = settings.quality.primary
    curve = base_curve(found)
    tuned = []
    for arm in arms:
        if arm.training is not None and curve is not None and arm.answered:
            training = settings.training[arm.training]
            money = training_money(training, measured.training_s.get(arm.training, 0.0))
            figures = tuned_figures(found, curve, arm.name, money)
            if figures is not None:
                tuned.append(figures)
    places = {
        arm.name: (arm.cost.value, quality.value)
        for arm in arms
        if arm.cost is not None and (quality := arm.quality[primary]) is not None
    }
    notes = warnings(arms, primary, complete=measured.complete)
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
        curve=() if curve is None else curve_points(curve, found),
        curve_source="" if curve is None else curve.source,
        pareto=tuple(pareto(places)),
        tuned=tuple(tuned),
        warnings=tuple(notes),
    )
    return replace(results, verdict=tuple(verdict(results)))
