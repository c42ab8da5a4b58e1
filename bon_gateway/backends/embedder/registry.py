"""The embedders that ship. To add one, write its file and name its settings in ``KINDS``."""

from __future__ import annotations

from bon_gateway.backends.embedder.embeddings import EmbeddingsSettings
from bon_gateway.backends.embedder.in_process_settings import InProcessEmbedderSettings
from bon_gateway.backends.settings import EmbedderSettings

KINDS: tuple[type[EmbedderSettings], ...] = (EmbeddingsSettings, InProcessEmbedderSettings)
