"""The reward model behind a vLLM pooling server (``--runner pooling``).

``/classify`` takes one conversation for each call, so all completions go out at the same time.
"""

from __future__ import annotations

from typing import Literal

from bon_gateway.backends.http.client import finite
from bon_gateway.backends.http.faults import malformed
from bon_gateway.backends.http.names import LookUp, look_up
from bon_gateway.backends.http.settings import UpstreamSettings
from bon_gateway.backends.pool.replica import Replica
from bon_gateway.backends.reward.side_by_side import SideBySide
from bon_gateway.backends.settings import RewardSettings
from bon_gateway.types import Message, NonTextParts, RewardRequest


class VllmClassifySettings(UpstreamSettings, RewardSettings):
    type: Literal["vllm_classify"]
    non_text_parts: NonTextParts = "refuse"
    """As for ``reward_server``. ``send`` passes messages on as the client sent them, for a model
    that can read such parts."""

    def build(self, key: str | None) -> VllmClassifyBackend:
        return VllmClassifyBackend(self, key)


class VllmClassifyBackend(SideBySide):
    """RewardBackend over ``POST /classify``."""

    def __init__(
        self, settings: VllmClassifySettings, api_key: str | None, *, look_up: LookUp = look_up
    ) -> None:
        self.non_text_parts: NonTextParts = settings.non_text_parts
        super().__init__(settings, api_key, look_up, call_path="/classify")

    async def _ask(
        self, replica: Replica, request: RewardRequest, completion: Message
    ) -> tuple[float, int]:
        found, tokens = await self._post(replica, request, completion)
        probs = found.get("probs")
        if not isinstance(probs, list) or len(probs) != 1:
            raise malformed("it does not give one number, so it is not a reward model")
        return finite(probs[0]), tokens
