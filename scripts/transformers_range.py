"""Prints what pip installs at the ends of the installed wheel's range of transformers: `==5.1`,
`<5.9,>=5.1`, a line each. Standard library only."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib.metadata import requires

RANGE = re.compile(r"transformers<(?P<above>[\d.]+),>=(?P<oldest>[\d.]+)")


def ends(requirements: Iterable[str]) -> list[str]:
    """The two ends; ValueError unless all requirements agree on one range."""
    found = {(m["oldest"], m["above"]) for one in requirements if (m := RANGE.match(one))}
    if len(found) != 1:
        raise ValueError(f"no single range of transformers: {sorted(found)}")
    [(oldest, above)] = found
    return [f"=={oldest}", f"<{above},>={oldest}"]


if __name__ == "__main__":
    print("\n".join(ends(requires("bon-gateway") or ())))
    sys.exit(0)
