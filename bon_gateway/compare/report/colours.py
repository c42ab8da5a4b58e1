"""One colour for each arm over all pictures and examples, on a light and on a dark page.

Pictures are drawn in the light colours. On the page each of them is a CSS variable, so that the
reader's scheme decides.
"""

from __future__ import annotations

from collections.abc import Sequence

ARMS = (
    ("#1f6fb2", "#6db3f2"),
    ("#d97100", "#ffab4d"),
    ("#2a8f4f", "#5fd08a"),
    ("#8e44ad", "#cf97ea"),
    ("#c0392b", "#ff8a7d"),
    ("#00838f", "#4dd0e1"),
    ("#6d4c41", "#cbaa9e"),
    ("#5a6b00", "#c3d64a"),
    ("#c2185b", "#ff8ab8"),
    ("#3f51b5", "#9fadff"),
)
"""Light and dark. Each has a contrast of 3 or more to its page."""
PAGE = ("#ffffff", "#14181f")
INK = ("#1d2433", "#e6e9ef")
SOFT = ("#5a6475", "#a4aebd")
LINE = ("#d9dee7", "#343c49")
MARKERS = "os^Dv"
"""The arms after the last colour begin again with another mark."""


def arm_colour(place: int) -> str:
    """Of the arm at that place among the arms."""
    return ARMS[place % len(ARMS)][0]


def arm_marker(place: int) -> str:
    return MARKERS[place // len(ARMS) % len(MARKERS)]


def variables() -> Sequence[tuple[str, str, str]]:
    """CSS variable, light and dark."""
    named = (("page", PAGE), ("ink", INK), ("soft", SOFT), ("line", LINE))
    arms = [(f"--arm-{place}", *both) for place, both in enumerate(ARMS)]
    return [*((f"--{name}", *both) for name, both in named), *arms]


def arm_variable(place: int) -> str:
    return f"var(--arm-{place % len(ARMS)})"


def as_variables(svg: str) -> str:
    """The picture with every colour of ours as its CSS variable."""
    for name, light, _ in variables():
        svg = svg.replace(light, f"var({name})")
    return svg
