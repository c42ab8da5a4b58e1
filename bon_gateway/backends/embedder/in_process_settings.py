"""The settings of the sentence model that runs in the gateway's own process."""

from __future__ import annotations

from importlib import import_module
from typing import Literal

from pydantic import PositiveInt

from bon_gateway.backends.settings import EmbedderSettings, LocalModelSettings
from bon_gateway.protocols import Embedder


class InProcessEmbedderSettings(LocalModelSettings, EmbedderSettings):
    type: Literal["in_process"]
    model: str
    """A folder, or the hub id, of a sentence model: any network that ``AutoModel`` loads."""
    pooling: Literal["mean", "cls"] = "mean"
    """How the states of a text's tokens become one vector: their mean, or the first token's. The
    model's card says which one to use."""
    max_tokens: PositiveInt = 512
    """Largest number of tokens to read of a text, within the model's own limit."""
    batch: PositiveInt = 16
    """Texts in one forward pass."""
    max_queue: PositiveInt = 64
    """Requests that may wait for the model. Further requests choose without it."""

    def build(self, key: str | None) -> Embedder:
        # Import by name: running a model needs heavy libraries, and most gateways run none.
        backend: Embedder = import_module(
            "bon_gateway.backends.embedder.in_process"
        ).InProcessEmbedder(self)
        return backend
