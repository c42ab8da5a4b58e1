"""The settings of the policy that runs in the gateway's own process."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from bon_gateway.backends.settings import LocalModelSettings, PolicySettings
from bon_gateway.protocols import PolicyBackend
from bon_gateway.sections.base import Section
from bon_gateway.thinking import ThinkingSettings


class GenerationSettings(Section):
    """Sampling parameters for requests that do not name them. What is None is as the checkpoint's
    ``generation_config.json`` has it."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Above 0, for several candidates that differ."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Only the likeliest tokens that have this probability together."""
    top_k: Annotated[int, Field(ge=-1)] | None = None
    """Draw from this many of the likeliest tokens; 0 or -1 takes all."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Only tokens with at least this share of the likeliest token's probability."""
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    """Above 1, tokens that occurred before become less likely."""


class TransformersPolicySettings(LocalModelSettings, PolicySettings):
    type: Literal["transformers"]
    model: str
    """A folder, or the hub id, of a causal language model."""
    thinking: ThinkingSettings | None = None
    """As for ``vllm``: how the model marks its thinking, which checks and the reward model skip."""
    max_tokens: PositiveInt = 512
    """Most tokens of an answer if the client sets no limit."""
    generation: GenerationSettings = GenerationSettings()
    """In place of the checkpoint's own, as vLLM's ``--override-generation-config``."""
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
