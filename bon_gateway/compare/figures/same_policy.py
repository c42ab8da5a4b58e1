"""Which arms that are called tuned are the base policy itself. Pure."""

from __future__ import annotations

from bon_gateway.compare.figures.material import Material, typical_n

ENOUGH = 5
"""Equal answers that are no accident."""


def base_policy_of(material: Material, arm: str) -> str | None:
    """Why the tuned arm is the base policy, in words. None for one that is not, and for the arms
    that say themselves that they are.

    It asks the same model at the same address as a base arm, or with the same seeds, sampling and N
    it gives the same answers at every prompt.
    """
    arms = material.settings.arms
    chosen = arms[arm]
    if chosen.training is None:
        return None
    base = [name for name, one in arms.items() if one.training is None]
    for name in base:
        if (arms[name].url, arms[name].model) == (chosen.url, chosen.model):
            return f"it asks the same model at the same address as {name}"
    ours = {r.key._replace(arm=""): r.text for r in material.records[arm] if r.ok}
    for name in base:
        theirs = {r.key._replace(arm=""): r.text for r in material.records[name] if r.ok}
        both = ours.keys() & theirs.keys()
        alike = typical_n(material.records[arm]) == typical_n(material.records[name])
        alike = alike and all(ours[key] == theirs[key] for key in both)
        # Two arms that always say one thing need not be one policy.
        if alike and len(both) >= ENOUGH and len({ours[key] for key in both}) > 1:
            return f"it gives the same answers as {name} at all {len(both)} requests"
    return None
