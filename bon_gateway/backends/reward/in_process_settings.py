"""The settings of the reward model that runs in the gateway's own process."""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar, Literal

from pydantic import PositiveInt

from bon_gateway.backends.settings import RewardSettings
from bon_gateway.protocols import RewardBackend
from bon_gateway.sections.base import Device
from bon_gateway.types import ForTextAlone


class InProcessRewardSettings(RewardSettings):
    type: Literal["in_process"]
    model: str
    """A folder or a hub id of a sequence-classification reward model."""
    non_text_parts: ForTextAlone = "refuse"
    """As for ``reward_server``."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    device: Device = "auto"
    """``auto`` is a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto`` is float32 on a CPU, else what the checkpoint holds."""
    trust_remote_code: bool = False
    """Whether code that comes with the model may run. Only for models that you trust."""
    max_batch_tokens: PositiveInt = 16384
    """Tokens, padding included, that one forward pass may hold."""
    threads: PositiveInt | None = None
    """CPU threads of torch for the whole process; None leaves torch's own choice. Set it to 1 for
    a small model beside an engine on the same CPU, where more threads wait for each other."""

    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    def build(self, key: str | None) -> RewardBackend:
        # By name: what runs a model imports much, and most gateways run none.
        backend: RewardBackend = import_module(
            "bon_gateway.backends.reward.in_process"
        ).InProcessReward(self)
        return backend
