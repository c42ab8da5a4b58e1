"""Alarms for reward hacking: the reward model's score rises while something else goes wrong.

Only the true reward could prove it, and in a real run there is none. These are the signs that come
first: the policy pays more and more KL for the same reward, grows less sure of its own words (one
that improves grows surer), stops ending its answers, writes ever longer, or ever more of the same.
Each compares the mean of the last iterations with the first's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from trainers.ppo.settings import AlarmSettings

Metrics = Mapping[str, float]

NOTABLE = 0.1
"""The least rise of the KL, relative to itself, that is told from noise."""


@dataclass(frozen=True)
class Alarm:
    name: str
    """kl, entropy, eos, length or variety."""
    text: str
    """One line with the figures."""


def alarms(history: Sequence[Metrics], settings: AlarmSettings) -> list[Alarm]:
    """The alarms that the history raises, its newest iteration last.

    Silent until there are two windows, and while the reward does not rise.
    """
    window = settings.window
    if len(history) < 2 * window:
        return []
    first, last = history[:window], history[-window:]

    def both(name: str) -> tuple[float, float]:
        return fmean(m[name] for m in first), fmean(m[name] for m in last)

    reward_first, reward_last = both("reward")
    if reward_last <= reward_first:
        return []
    risen = f"reward rose from {reward_first:.3g} to {reward_last:.3g}"
    found = []
    acceleration = kl_acceleration(history, window)
    kl = both("kl to reference")[1]
    if kl > settings.kl_floor and acceleration > settings.kl_acceleration:
        text = (
            f"{risen}, but each unit of it now costs {acceleration:.3g} times the KL that it did "
            f"before (kl to reference {kl:.3g})"
        )
        found.append(Alarm("kl", text))
    before, now = both("entropy")
    if now > before * (1 + settings.entropy_rise):
        found.append(
            Alarm(
                "entropy", f"{risen}, but entropy rose from {before:.3g} to {now:.3g} nats a token"
            )
        )
    before, now = both("eos rate")
    if now < before - settings.eos_drop:
        found.append(Alarm("eos", f"{risen}, but the eos rate fell from {before:.3g} to {now:.3g}"))
    before, now = both("length")
    if now > before * settings.length_growth:
        found.append(
            Alarm("length", f"{risen}, but answers grew from {before:.3g} to {now:.3g} tokens")
        )
    before, now = both("distinct-2")
    if now < before * (1 - settings.distinct_drop):
        found.append(
            Alarm("variety", f"{risen}, but distinct-2 fell from {before:.3g} to {now:.3g}")
        )
    return found


def kl_acceleration(history: Sequence[Metrics], window: int) -> float:
    """KL per unit of reward over the last two windows, relative to that from the first to there.

    The reward of a policy grows about with the square root of its KL (Gao et al. 2022,
    arXiv:2210.10760), so the price rises in every run; a jump says that what is still gained is
    of another kind. 0 where KL does not rise by a tenth, which may be noise; infinite where it
    does and the reward does not.
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
