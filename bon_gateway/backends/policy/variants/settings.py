"""The settings of one variant: which policy it asks, how, and how often."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PositiveFloat

from bon_gateway.sections.base import Section
from bon_gateway.types import GREEDY_BELOW

LARGEST_SHARE = 100
HIGHEST_TEMPERATURE = 2.0
"""Both kinds of policies refuse a higher one: all that the variant draws would fail."""
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
"""Keys of a variant that take the place of the client's."""

Text = Annotated[str, Field(min_length=1)]


class VariantSettings(Section):
    """One way to draw a candidate. Sampling keys that are None stay as the client sent them."""

    policy: str
    """A name in ``policies``. That policy cannot be of type ``variants`` itself."""
    name: Text | None = None
    """What metrics, answers and the candidate log call it. None takes the name of its policy; two
    variants of one policy need names."""
    share: Annotated[int, Field(ge=1, le=LARGEST_SHARE)] = 1
    """How many candidates it draws for each one that a variant with share 1 draws."""
    model: Text | None = None
    """Another model's name on the policy's replicas, such as a LoRA adapter's. Only for policies of
    type ``vllm``. None takes the policy's own."""
    system_suffix: Text | None = None
    """Text to add to the system message, after an empty line. A conversation that does not begin
    with a system message gets one that says only this. The reward model does not see it."""
    temperature: Annotated[float, Field(ge=GREEDY_BELOW, le=HIGHEST_TEMPERATURE)] | None = None
    """Instead of the client's. A client that asks for temperature 0 keeps that."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Only the likeliest tokens that have this probability together."""
    top_k: Annotated[int, Field(ge=-1)] | None = None
    """Draw from this many of the likeliest tokens; 0 or -1 takes all."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Only tokens with at least this share of the likeliest token's probability."""
    repetition_penalty: PositiveFloat | None = None
    """Above 1, tokens that occurred before become less likely."""

    @property
    def label(self) -> str:
        return self.name or self.policy

    @property
    def sampling(self) -> dict[str, Any]:
        """What takes the place of the client's parameters."""
        given = {key: getattr(self, key) for key in SAMPLING}
        return {key: value for key, value in given.items() if value is not None}
