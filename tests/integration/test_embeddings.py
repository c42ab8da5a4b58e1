"""The backend over vLLM's ``/v1/embeddings`` and the model in process say the same of a text."""

from __future__ import annotations

import pytest

from bon_gateway import demo_models
from bon_gateway.backends.embedder.embeddings import EmbeddingsSettings
from bon_gateway.backends.embedder.in_process_settings import InProcessEmbedderSettings
from bon_gateway.errors import EmbedderError
from tests.integration.engines import CONTEXT, Upstream, start_vllm
from tests.integration.processes import Processes
from tests.vllm_forks import VllmForks
from tests.waiting import until

pytestmark = pytest.mark.vllm
TEXTS = ("a bear", "name three toys for a bear", "kite, ball, drum and train", "x " * 40, "Bär 熊")
TOO_LONG = "a " * 4 * CONTEXT


@pytest.fixture(scope="module")
def engine(passing: Processes, vllm: VllmForks) -> Upstream:
    """The demo policy's network as a sentence model: it is not trained as one."""
    model = str(demo_models.policy_path())
    flags = [
        *("--runner", "pooling", "--convert", "embed"),
        *("--pooler-config", '{"pooling_type": "MEAN", "use_activation": true}'),
    ]
    process, port = start_vllm(passing, vllm, "vllm-embedder", model, flags)
    upstream = Upstream(process, port, "/health")
    upstream.wait()
    return upstream


async def test_vllm_and_the_model_in_process_agree(engine: Upstream) -> None:
    keys = {"urls": (engine.url,), "max_chars": 65536}
    remote = EmbeddingsSettings(type="embeddings", **keys).build(None)
    cutting = EmbeddingsSettings(
        type="embeddings",
        fields={"truncate_prompt_tokens": -1},
        **keys,
    ).build(None)
    model = str(demo_models.policy_path())
    local = InProcessEmbedderSettings(type="in_process", model=model, threads=1).build(None)
    backends = (remote, cutting, local)
    for backend in backends:
        await backend.start()
    try:
        for backend in backends:
            await until(backend.ready, 120, what="the embedder is up")
        theirs, ours = await remote.embed(TEXTS, None), await local.embed(TEXTS, None)
        for one, other in zip(theirs, ours, strict=True):
            assert list(one) == pytest.approx(list(other), abs=1e-4)
        with pytest.raises(EmbedderError, match="refused the answers"):
            await remote.embed([TOO_LONG], None)
        assert len(await cutting.embed([TOO_LONG], None)) == 1
    finally:
        for backend in backends:
            await backend.close()
