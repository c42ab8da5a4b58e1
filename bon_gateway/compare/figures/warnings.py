"""What a reader must know before the figures. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bon_gateway.compare.figures.results import Arm, Choice
from bon_gateway.compare.settings import SELECTION


def warnings(arms: Sequence[Arm], primary: str, *, complete: bool) -> list[str]:
    """Of the run, its quality and each arm."""
    found = []
    if not complete:
        found.append("The run was stopped early: the figures cover what was measured until then.")
    if primary == SELECTION:
        found.append(
            "Quality is the reward that best-of-N itself chooses by: it flatters best-of-N, the"
            " more the larger N is, and its oracle is best-of-N itself. A held-out scorer is"
            " fairer."
        )
    for arm in arms:
        if arm.failures:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(arm.failures.items()))
            found.append(
                f"{arm.name}: {sum(arm.failures.values())} of {arm.asked} requests failed"
                f" ({kinds}). They count as endless in latencies and as the worst answer of their"
                " prompt in quality."
            )
        if arm.quality[primary] is None:
            found.append(f"{arm.name} has no score by {primary}: its quality is not known.")
        elif arm.unscored:
            found.append(
                f"{arm.name}: {arm.unscored} of {arm.answered} answers have no score by {primary}"
                " and are left out of its quality."
            )
        if arm.unmetered:
            found.append(
                f"{arm.name}: {arm.unmetered} of {arm.answered} answers have no usage and are left"
                " out of its tokens and cost."
            )
        for reason, count in sorted(arm.degraded.items()):
            found.append(f"{arm.name}: {count} answers are degraded ({reason}).")
    return found


def choice_warnings(choices: Sequence[Choice]) -> list[str]:
    return [
        f"{choice.arm}: {choice.unknown} answers have no scores of their candidates and are left"
        " out of random choice and oracle."
        for choice in choices
        if choice.unknown
    ]
