"""An embedding model behind ``/v1/embeddings``: vLLM's (``--runner pooling``), text-embeddings-
inference's, a provider's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from bon_common.http.settings import Seconds
from bon_common.together import together
from bon_gateway.backends.http.client import encode, model_name
from bon_gateway.backends.http.faults import UpstreamError, embedder_error, malformed
from bon_gateway.backends.http.names import LookUp, look_up
from bon_gateway.backends.http.settings import UpstreamSettings
from bon_gateway.backends.pool.backend import Pooled
from bon_gateway.backends.pool.replica import Lease, Replica
from bon_gateway.backends.settings import EmbedderSettings
from bon_gateway.types import Caller, Vector

BATCH = 16
"""Texts in one call. Smaller answers block the event loop for a shorter time."""
MOST_DIMENSIONS = 8192
"""Longer vectors are refused. The largest served models have 4096 to 8192 numbers."""
WARM_UP = "Hi"


class EmbeddingsSettings(UpstreamSettings, EmbedderSettings):
    type: Literal["embeddings"]
    timeout_s: Seconds = 10.0
    """Seconds that one call may take. A chosen answer waits for it."""
    health_path: Annotated[str, Field(pattern=r"^/[\w./-]*$")] = "/v1/models"
    """Path for health checks. Use ``/health`` for text-embeddings-inference, which does not list
    its models, and set ``model`` too."""
    fields: Mapping[str, Any] = {}
    """Further fields of each request, such as ``dimensions``, or ``truncate_prompt_tokens: -1`` for
    vLLM, which refuses a text that is longer than the model's context."""

    def build(self, key: str | None) -> EmbeddingsBackend:
        return EmbeddingsBackend(self, key)


class EmbeddingsBackend(Pooled):
    """Embedder over ``POST /v1/embeddings``. It does not retry a failed call.

    All texts of one call go to one replica, in batches at the same time. The first failure stops
    the rest.
    """

    def __init__(
        self, settings: EmbeddingsSettings, api_key: str | None, *, look_up: LookUp = look_up
    ) -> None:
        self._settings = settings
        super().__init__(
            settings,
            api_key,
            look_up,
            call_path="/v1/embeddings",
            health_path=settings.health_path,
        )

    async def embed(self, texts: Sequence[str], caller: Caller | None) -> list[Vector]:
        read = [self._settings.read(text) for text in texts]
        batches = [read[start : start + BATCH] for start in range(0, len(read), BATCH)]
        request_id = None if caller is None else caller.request_id
        try:
            with self._pool.lease(len(batches), request_id) as lease:
                found = await together(self._leased(lease, batch, caller) for batch in batches)
        except UpstreamError as error:
            raise embedder_error(error) from error
        return [vector for vectors in found for vector in vectors]

    async def _leased(
        self, lease: Lease, texts: Sequence[str], caller: Caller | None
    ) -> list[Vector]:
        try:
            vectors = await self._ask(lease.replica, texts, caller)
        except UpstreamError as error:
            lease.done(error)
            raise
        lease.done()
        return vectors

    async def _ask(
        self, replica: Replica, texts: Sequence[str], caller: Caller | None
    ) -> list[Vector]:
        model = self._settings.model or replica.model
        body = {**self._settings.fields, "model": model, "input": texts}
        headers = {} if caller is None else caller.headers()
        return _vectors(await replica.client.post(replica.call, encode(body), headers), len(texts))

    async def _warm_up(self, replica: Replica) -> None:
        if self._settings.model is None:
            replica.model = model_name(await replica.client.get(replica.models))
        await self._ask(replica, [self._settings.read(WARM_UP)], None)


def _vectors(answer: dict[str, Any], count: int) -> list[Vector]:
    """A vector for each text, in order. Raises UpstreamError."""
    data = answer.get("data")
    if not isinstance(data, list) or len(data) != count:
        raise malformed(f"it did not give {count} vectors")
    found: dict[int, Vector] = {}
    for place, entry in enumerate(data):
        vector = entry.get("embedding") if isinstance(entry, dict) else None
        if not isinstance(vector, list) or not 0 < len(vector) <= MOST_DIMENSIONS:
            raise malformed("a vector cannot be read, or is longer than any that is known")
        if not all(type(one) in (float, int) and math.isfinite(one) for one in vector):
            raise malformed("a vector holds what is no finite number")
        index = entry.get("index", place)
        found[index if isinstance(index, int) else place] = vector
    if sorted(found) != [*range(count)]:
        raise malformed("its vectors are not numbered as the texts are")
    return [found[place] for place in range(count)]
