"""How the rewards of one prompt's samples vary, learnt from earlier prompts.

A prompt's rewards are Gaussian with a mean and a variance of its own. Four samples say little about
a variance, so it is pooled: over prompts, variances follow an inverse gamma distribution, and means
a Gaussian whose variance is in proportion (a normal-inverse-gamma prior). ``fit`` takes the prior
under which the earlier prompts' rewards were likeliest (empirical Bayes).

That stays right where drawing was stopped early: whether it was stopped depends on the rewards that
were seen and on nothing else, so it is no part of their likelihood (Berger and Wolpert 1988).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

GOLDEN = (math.sqrt(5) - 1) / 2
ROUNDS = 4
"""Times that each parameter is improved, given the others."""
STEPS = 18
"""Evaluations for improving one parameter once; each narrows its range to 0.62 of it."""
SHAPES = (1.0, 300.0)
"""Bounds of ``shape``. At 300 the prompts' variances differ by less than 6 %."""
STRENGTHS = (1e-4, 1e3)
"""Bounds of ``strength``: means spread 100 times as far as rewards within a prompt, or 0.03."""
LEAST_VARIANCE = 1e-200
"""A pooled variance below it counts as none."""
FACTOR = 1e3
"""The typical variance lies within this factor of the pooled one."""


@dataclass(frozen=True, slots=True)
class PromptRewards:
    """The sufficient statistics of the rewards of one prompt's samples."""

    count: int
    mean: float
    squares: float
    """Sum of squared differences from the mean."""

    @classmethod
    def of(cls, rewards: Sequence[float]) -> PromptRewards:
        """Exactly rounded sums, so that the order of the rewards does not matter. Raises ValueError
        for no rewards and for one that is not finite."""
        if not rewards or not all(map(math.isfinite, rewards)):
            raise ValueError(f"needs at least one reward, and finite ones; got {list(rewards)}")
        mean = math.fsum(rewards) / len(rewards)
        return cls(len(rewards), mean, math.fsum((reward - mean) ** 2 for reward in rewards))


@dataclass(frozen=True, slots=True)
class Predictive:
    """Student's t: what the next sample's reward is expected to be."""

    df: float
    location: float
    scale: float


@dataclass(frozen=True, slots=True)
class NormalInverseGamma:
    """The variance is inverse gamma with ``shape`` and ``scale``; given the variance, the mean is
    Gaussian around ``mean`` with the variance over ``strength``. All but ``shape`` and ``strength``
    are in the unit of the rewards, ``scale`` in its square."""

    mean: float
    strength: float
    """How many samples the knowledge of the mean is worth."""
    shape: float
    """Half as many samples as the knowledge of the variance is worth."""
    scale: float

    def posterior(self, seen: PromptRewards) -> NormalInverseGamma:
        """What is known of a prompt after ``seen`` (Murphy 2007, equations 85 to 89)."""
        strength = self.strength + seen.count
        apart = self.strength * seen.count / strength * (seen.mean - self.mean) ** 2
        return NormalInverseGamma(
            mean=(self.strength * self.mean + seen.count * seen.mean) / strength,
            strength=strength,
            shape=self.shape + seen.count / 2,
            scale=self.scale + (seen.squares + apart) / 2,
        )

    def predictive(self) -> Predictive:
        """The next sample's reward (Murphy 2007, equation 110)."""
        square = self.scale * (self.strength + 1) / (self.shape * self.strength)
        return Predictive(2 * self.shape, self.mean, math.sqrt(square))

    def log_likelihood(self, prompts: Sequence[PromptRewards]) -> float:
        """Of all rewards of ``prompts``, up to a constant: the mean, variance and rewards of each
        prompt are independent of the others (Murphy 2007, equation 95)."""
        total = len(prompts) * self.shape * math.log(self.scale)
        by_count: defaultdict[int, list[PromptRewards]] = defaultdict(list)
        for prompt in prompts:
            by_count[prompt.count].append(prompt)
        for count, alike in by_count.items():
            strength, shape = self.strength + count, self.shape + count / 2
            gained = math.lgamma(shape) - math.lgamma(self.shape)
            total += len(alike) * (gained + 0.5 * math.log(self.strength / strength))
            # ``posterior``'s scale, written out: the fit spends its time here.
            weight, mean, scale = self.strength * count / strength, self.mean, self.scale
            total -= shape * math.fsum(
                [math.log(scale + 0.5 * (p.squares + weight * (p.mean - mean) ** 2)) for p in alike]
            )
        return total


def fit(prompts: Sequence[PromptRewards]) -> NormalInverseGamma | None:
    """The prior of the largest likelihood within ``SHAPES`` and ``STRENGTHS``, found by improving
    one parameter after the other. None if no prompt has two rewards that differ."""
    spare = sum(prompt.count - 1 for prompt in prompts)
    squares = math.fsum(prompt.squares for prompt in prompts)
    pooled = squares / spare if spare > 0 else 0.0
    if pooled < LEAST_VARIANCE:
        return None
    mean = math.fsum(prompt.mean for prompt in prompts) / len(prompts)
    prior = NormalInverseGamma(mean, strength=1.0, shape=3.0, scale=3.0 * pooled)
    for _ in range(ROUNDS):
        prior = _recentred(prior, prompts)
        # Shape and typical variance are nearly independent of each other; shape and scale are not.
        for bounds, changed in (
            (STRENGTHS, lambda p, value: replace(p, strength=value)),
            ((pooled / FACTOR, pooled * FACTOR), lambda p, v: replace(p, scale=v * p.shape)),
            (SHAPES, lambda p, v: replace(p, shape=v, scale=p.scale / p.shape * v)),
        ):
            prior = _improved(prior, prompts, bounds, changed)
    return prior


def _recentred(prior: NormalInverseGamma, prompts: Sequence[PromptRewards]) -> NormalInverseGamma:
    """With the mean that EM would take next: prompts of little variance say more about it."""
    weights = []
    for prompt in prompts:
        after = prior.posterior(prompt)
        precision = after.shape / after.scale
        weights.append((precision, after.mean))
    total = math.fsum(precision for precision, _ in weights)
    return replace(prior, mean=math.fsum(p * mean for p, mean in weights) / total)


def _improved(
    prior: NormalInverseGamma,
    prompts: Sequence[PromptRewards],
    bounds: tuple[float, float],
    changed: Callable[[NormalInverseGamma, float], NormalInverseGamma],
) -> NormalInverseGamma:
    """With the value within ``bounds`` that makes ``prompts`` likeliest, by golden section search
    over its logarithm."""

    def at(place: float) -> float:
        return changed(prior, math.exp(place)).log_likelihood(prompts)

    low, high = map(math.log, bounds)
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = at(left), at(right)
    for _ in range(STEPS):
        if at_left > at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = at(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = at(right)
    return changed(prior, math.exp((low + high) / 2))
