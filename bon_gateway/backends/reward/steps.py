"""How rewards of the steps of an answer are set up: for process reward models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bon_common.process_reward import Aggregate, StepReading
from bon_gateway.sections.base import Section


class RewardStepsSettings(Section):
    separator: Annotated[str, Field(min_length=1)] = "\n\n"
    """What stands between two steps of an answer. White space around a step is left out."""
    token: Annotated[str, Field(min_length=1)] | None = None
    """The mark that the model expects behind each step, one token of its vocabulary, such as
    ``<extra_0>`` of Qwen2.5-Math-PRM. None is the separator."""
    label: str | None = None
    """Which label means a right step: its name in the model's configuration, and for
    ``vllm_pooling``, which names none, its place from 0. None is the second of two, or the only
    one."""
    aggregate: Aggregate = "min"
    """How the scores of an answer's steps become its reward. ``min`` and ``product`` ask whether
    every step is right; ``product`` also falls with the number of steps. ``last`` is the score
    behind the whole answer. ``mean`` forgives a wrong step in a long answer."""

    @property
    def reading(self) -> StepReading:
        return StepReading(**self.model_dump())
