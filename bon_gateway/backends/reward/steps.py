"""Settings of process reward models: how to read the steps of an answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bon_common.process_reward import Aggregate, StepReading
from bon_gateway.sections.base import Section


class RewardStepsSettings(Section):
    separator: Annotated[str, Field(min_length=1)] = "\n\n"
    """Text between two steps of an answer. White space around a step is dropped."""
    token: Annotated[str, Field(min_length=1)] | None = None
    """The mark that the model expects behind each step, one token of its vocabulary, such as
    ``<extra_0>`` of Qwen2.5-Math-PRM. None takes the separator."""
    label: str | None = None
    """The label that means a right step: its name in the model's configuration, or for
    ``vllm_pooling``, which knows no names, its place from 0. None takes the second of two, or the
    only one."""
    aggregate: Aggregate = "min"
    """How the scores of steps become the answer's reward. ``min`` and ``product`` ask whether every
    step is right; ``product`` also falls with the number of steps. ``last`` is the score behind the
    whole answer. ``mean`` forgives a wrong step in a long answer."""

    @property
    def reading(self) -> StepReading:
        return StepReading(**self.model_dump())
