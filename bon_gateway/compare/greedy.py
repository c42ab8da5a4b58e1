"""The greedy arm: one answer at temperature 0 beside every base policy that is asked for several.

Best-of-N by a weak reward model may only find the answer that greedy decoding gives at once.
Without a greedy row that would be called a gain.
"""

from __future__ import annotations

from typing import Any

from bon_gateway.compare.settings import ArmSettings, BonOverride, CompareSettings, PriceSettings

NAME = "greedy"


def is_greedy(settings: CompareSettings, arm: str) -> bool:
    """Whether the arm's answers are drawn at temperature 0."""
    sampling = {**settings.sampling, **settings.arms[arm].sampling}
    return sampling.get("temperature") == 0


def with_greedy(settings: CompareSettings) -> CompareSettings:
    """The same with a greedy arm at the end for each base policy that has an arm of several
    candidates and none at temperature 0."""
    if not settings.greedy:
        return settings
    groups: dict[tuple[str | None, str], ArmSettings] = {}
    known = set()
    for name, arm in settings.arms.items():
        if arm.training is None:
            if is_greedy(settings, name):
                known.add((arm.url, arm.model))
            elif _several(arm):
                groups.setdefault((arm.url, arm.model), arm)
    arms = dict(settings.arms)
    for (_, model), arm in ((place, arm) for place, arm in groups.items() if place not in known):
        name = NAME if len(groups) == 1 else f"{NAME}-{model}"
        while name in arms:
            name += "-0"
        arms[name] = _greedy(arm)
    return settings.model_copy(update={"arms": arms})


def greedy_of(settings: CompareSettings, arm: str) -> str | None:
    """The greedy arm of the same policy as the arm, or for a tuned arm that of the base policy:
    the first if there are several."""
    chosen = settings.arms[arm]
    found = [
        name
        for name, one in settings.arms.items()
        if name != arm and one.training is None and is_greedy(settings, name)
    ]
    same = [n for n in found if _place(settings.arms[n]) == _place(chosen)]
    return next(iter([*same, *found]), None) if same or chosen.training is not None else None


def _place(arm: ArmSettings) -> tuple[str | None, str]:
    return arm.url, arm.model


def _several(arm: ArmSettings) -> bool:
    """Whether the arm asks for several candidates, or leaves their number to the served model."""
    if arm.bon is None:
        return False
    asked: dict[str, Any] = arm.bon.model_dump(exclude_none=True)
    return asked.get("strategy") != "single" and asked.get("n") != 1


def _greedy(arm: ArmSettings) -> ArmSettings:
    assert arm.bon is not None, "only arms with several candidates have one"
    asked: dict[str, Any] = arm.bon.model_dump(exclude_none=True)
    bon = {"n": 1} if "strategy" not in asked else {"strategy": "best_of_n", "n": 1}
    return arm.model_copy(
        update={
            "bon": BonOverride.model_validate(bon),
            "sampling": {**arm.sampling, "temperature": 0},
            # One answer needs no reward model; it is scored here only to have a reward.
            "reward_price": PriceSettings(input_per_million=0.0),
        }
    )
