"""The settings of the policy that runs in the gateway's own process."""

from __future__ import annotations

from importlib import import_module
from typing import Literal

from pydantic import PositiveInt

from bon_gateway.backends.settings import LocalModelSettings, PolicySettings
from bon_gateway.protocols import PolicyBackend
from bon_gateway.thinking import ThinkingSettings


class TransformersPolicySettings(LocalModelSettings, PolicySettings):
    type: Literal["transformers"]
    model: str
    """A folder, or the hub id, of a causal language model."""
    thinking: ThinkingSettings | None = None
    """As for ``vllm``: how the model marks its thinking, which checks and the reward model skip."""
    max_tokens: PositiveInt = 512
    """Most tokens of an answer if the client sets no limit."""
    pack_weights: bool = True
    """Rearrange weight matrices for faster products, on the CPU in float32: several candidates are
    drawn a fifth faster, one alone a sixth slower. Each matrix exists twice while it is packed."""
    max_queue: PositiveInt = 64
    """Requests that may wait for the model. Further ones are refused with 503."""

    def build(self, key: str | None) -> PolicyBackend:
        # By name: what runs a model imports much, and most gateways run none.
        backend: PolicyBackend = import_module(
            "bon_gateway.backends.policy.embedded.policy"
        ).TransformersPolicy(self)
        return backend
