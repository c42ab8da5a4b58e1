"""Alarms for reward hacking: the reward model's score rises while something else goes wrong.

Only the true reward could prove it, and in a real run there is none. These signs come first: the
policy pays more and more KL for the same reward, grows less sure of its own words (one that
improves grows surer), stops ending its answers, writes ever longer, or ever more of the same. Each
compares the mean of the last iterations with that of the first ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from trainers.ppo.settings import AlarmSettings

Metrics = Mapping[str, float]

CURVES = ("reward", "kl to reference", "entropy", "eos rate", "length", "distinct-2")

NOTABLE = 0.1
"""A rise of the KL below this share of itself may be noise."""


def alarms(history: Sequence[Metrics], settings: AlarmSettings) -> dict[str, str]:
    """The alarms that the history raises, its newest iteration last: name and a line of figures.

    The names are kl, entropy, eos, length and variety. None is raised until there are two windows,
    or while the reward does not rise.
    """
    window = settings.window
    if len(history) < 2 * window:
        return {}
    before, now = _means(history[:window]), _means(history[-window:])
    if now["reward"] <= before["reward"]:
        return {}

    def change(curve: str) -> str:
        return f"from {before[curve]:.3g} to {now[curve]:.3g}"

    kl, acceleration = now["kl to reference"], kl_acceleration(history, window)
    kl_now = f"(kl to reference {kl:.3g})"
    signs = {
        "kl": (
            kl > settings.kl_floor and acceleration > settings.kl_acceleration,
            f"each unit of it now costs {acceleration:.3g} times the KL of before {kl_now}",
        ),
        "entropy": (
            now["entropy"] > before["entropy"] * (1 + settings.entropy_rise),
            f"entropy rose {change('entropy')} nats a token",
        ),
        "eos": (
            now["eos rate"] < before["eos rate"] - settings.eos_drop,
            f"the eos rate fell {change('eos rate')}",
        ),
        "length": (
            now["length"] > before["length"] * settings.length_growth,
            f"answers grew {change('length')} tokens",
        ),
        "variety": (
            now["distinct-2"] < before["distinct-2"] * (1 - settings.distinct_drop),
            f"distinct-2 fell {change('distinct-2')}",
        ),
    }
    risen = f"reward rose {change('reward')}"
    return {name: f"{risen}, but {text}" for name, (raised, text) in signs.items() if raised}


def _means(entries: Sequence[Metrics]) -> dict[str, float]:
    return {name: fmean(entry[name] for entry in entries) for name in CURVES}


def kl_acceleration(history: Sequence[Metrics], window: int) -> float:
    """KL per unit of reward from the last but one window to the last, relative to before.

    The reward of a policy grows about with the square root of its KL (Gao et al. 2022,
    arXiv:2210.10760), so the price rises in every run; a jump says that the reward now comes from
    something else. 0 if KL does not rise by a tenth, which may be noise; infinite if it does and
    the reward does not.
    """

    def mean(name: str, end: int) -> float:
        return fmean(m[name] for m in history[end - window : end])

    last, before = len(history), len(history) - window
    kl = mean("kl to reference", last) - mean("kl to reference", before)
    kl_before = mean("kl to reference", before) - mean("kl to reference", window)
    if kl < NOTABLE * mean("kl to reference", before) or kl_before <= 0:
        return 0.0
    reward = mean("reward", last) - mean("reward", before)
    reward_before = mean("reward", before) - mean("reward", window)
    if reward <= 0:
        return float("inf")
    return (kl / reward) * (reward_before / kl_before)
