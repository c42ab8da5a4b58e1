"""Weights in settings, bounded so that weighted sums stay finite."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Weight = Annotated[float, Field(gt=0, le=1e6)]
"""How much one thing counts beside others. Only ratios matter."""
LabelWeight = Annotated[float, Field(ge=-1e6, le=1e6)]
"""Weight of one output of a model. A negative one turns the output around, 0 leaves it out."""
