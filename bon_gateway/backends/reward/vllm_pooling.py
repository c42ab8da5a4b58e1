"""The process reward model behind a vLLM pooling server (``--runner pooling``).

``/pooling`` gives each label's raw number at each step mark, if the server reads the model at steps
(``"tok_pooling_type": "STEP"`` with its ``step_tag_id``, which vLLM knows of Qwen2.5-Math-PRM). The
backend puts a mark behind each step of an answer, and joins the steps' scores to a reward.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from bon_common.process_reward import aggregated, split_steps, step_score
from bon_gateway.backends.http.client import finite
from bon_gateway.backends.http.faults import Fault, UpstreamError, malformed
from bon_gateway.backends.http.names import LookUp, look_up
from bon_gateway.backends.http.settings import UpstreamSettings
from bon_gateway.backends.pool.replica import Replica
from bon_gateway.backends.reward.local import WARM_UP
from bon_gateway.backends.reward.side_by_side import SideBySide
from bon_gateway.backends.reward.steps import RewardStepsSettings
from bon_gateway.backends.settings import RewardSettings
from bon_gateway.types import Message, NonTextParts, RewardRequest


class VllmPoolingSettings(UpstreamSettings, RewardSettings):
    type: Literal["vllm_pooling"]
    steps: RewardStepsSettings = RewardStepsSettings(token="<extra_0>")  # noqa: S106 - no secret
    """How steps are marked and scored. The default fits Qwen2.5-Math-PRM."""
    non_text_parts: NonTextParts = "refuse"
    """As for ``vllm_classify``."""

    @model_validator(mode="after")
    def _label_is_a_place(self) -> Self:
        label = self.steps.label
        if label is not None and not (label.isascii() and label.isdecimal() and len(label) < 4):
            raise ValueError("steps.label: vLLM names no labels; give its place, from 0")
        return self

    def build(self, key: str | None) -> VllmPoolingBackend:
        return VllmPoolingBackend(self, key)


class VllmPoolingBackend(SideBySide):
    """RewardBackend over ``POST /pooling``."""

    def __init__(
        self, settings: VllmPoolingSettings, api_key: str | None, *, look_up: LookUp = look_up
    ) -> None:
        self.non_text_parts: NonTextParts = settings.non_text_parts
        self._steps = settings.steps.reading
        super().__init__(settings, api_key, look_up, call_path="/pooling")

    async def _ask(
        self, replica: Replica, request: RewardRequest, completion: Message
    ) -> tuple[float, int]:
        answer, count = self._marked(completion, unfinished=request.partial)
        found, tokens = await self._post(replica, request, answer)
        rows = _rows(found.get("data"))
        if len(rows) < count:
            raise malformed(f"it scored {len(rows)} of the {count} steps of an answer")
        # A client's own messages may hold marks, and stand before the answer.
        scores = [self._score_of(row) for row in rows[-count:]]
        return finite(aggregated(scores, self._steps.aggregate)), tokens

    async def _warm_up(self, replica: Replica) -> None:
        await super()._warm_up(replica)
        request, answer = WARM_UP
        found, _ = await self._post(replica, request, self._marked(answer, unfinished=False)[0])
        count = len(_rows(found.get("data")))
        if count != 1:
            raise malformed(
                f"it gives {count} scores for an answer of one step, so it does not read the model "
                'at the step marks; start vLLM with --pooler-config \'{"tok_pooling_type": '
                '"STEP", "step_tag_id": ...}\''
            )

    def _marked(self, completion: Message, *, unfinished: bool) -> tuple[dict[str, Any], int]:
        """The answer with a mark behind each step, and the number of steps."""
        content = completion.get("content")
        if completion.get("tool_calls") or not isinstance(content, str | None):
            raise UpstreamError(Fault.REFUSED, "The answer has no steps.", status=400)
        mark, separator = self._steps.mark, self._steps.separator
        text = content or ""
        if mark.strip():
            # A policy that learnt from marked answers writes the mark itself.
            text = text.replace(mark, separator)
        steps = split_steps(text, separator, unfinished=unfinished)
        return {**completion, "content": "".join(step + mark for step in steps)}, len(steps)

    def _score_of(self, row: list[float]) -> float:
        label = self._steps.label
        if label is None and len(row) > 2:
            raise malformed(f"its model has {len(row)} labels; steps.label must give a place")
        right = len(row) - 1 if label is None else int(label)
        if right >= len(row):
            raise malformed(f"its model has {len(row)} labels, and none at place {right}")
        return step_score(row, right)


def _rows(data: Any) -> list[list[float]]:
    """Raises UpstreamError."""
    if not isinstance(data, list) or not all(isinstance(row, list) and row for row in data):
        raise malformed("it does not give numbers for each step, so it is no process reward model")
    return [[finite(number) for number in row] for row in data]
