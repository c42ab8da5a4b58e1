"""The settings of the policy that runs in the gateway's own process."""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar, Literal

from pydantic import PositiveInt

from bon_gateway.backends.settings import PolicySettings, ThinkingSettings
from bon_gateway.protocols import PolicyBackend
from bon_gateway.sections.base import Device


class TransformersPolicySettings(PolicySettings):
    type: Literal["transformers"]
    model: str
    """A folder or a hub id of a causal language model."""
    revision: str | None = None
    """Of the model on the hub: a branch, a tag or a commit."""
    device: Device = "auto"
    """``auto`` is a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto`` is float32 on a CPU, else what the checkpoint holds."""
    trust_remote_code: bool = False
    """Whether code that comes with the model may run. Only for models that you trust."""
    thinking: ThinkingSettings | None = None
    """As for ``vllm``: how the model marks its thinking, which checks and the reward model skip."""
    max_tokens: PositiveInt = 512
    """Generated tokens where the client sets no limit."""
    max_queue: PositiveInt = 64
    """Requests that may wait for the model; more are refused with 503."""
    threads: PositiveInt | None = None
    """CPU threads of torch for the whole process; None leaves torch's own choice."""

    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    def build(self, key: str | None) -> PolicyBackend:
        # By name: what runs a model imports much, and most gateways run none.
        backend: PolicyBackend = import_module(
            "bon_gateway.backends.policy.embedded.policy"
        ).TransformersPolicy(self)
        return backend
