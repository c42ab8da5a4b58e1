"""The sentence model in process: what it computes, and how it begins and ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from bon_gateway.backends.embedder.in_process import InProcessEmbedder
from bon_gateway.backends.embedder.in_process_settings import InProcessEmbedderSettings
from bon_gateway.backends.embedder.network import load_sentence_model
from bon_gateway.errors import EmbedderError
from bon_gateway.types import Vector
from tests.bon_gateway.backends.policy.embedded.kit import SIZES, save_tokenizer
from tests.waiting import until

CONTEXT = 48
TEXTS = ["a cat", "a small dog sleeps", "x" * 100, "no"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentences")
    save_tokenizer(folder)
    config = BertConfig(**SIZES, max_position_embeddings=CONTEXT)
    torch.manual_seed(3)
    # Sentence models are often stored without the pooler that BERT has.
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def settings(folder: Path, **keys: Any) -> InProcessEmbedderSettings:
    described = {"type": "in_process", "model": str(folder), "threads": 1, **keys}
    return InProcessEmbedderSettings.model_validate(described)


def plain(folder: Path, text: str, pooling: str) -> list[float]:
    """One text alone, without padding, by transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer(text, return_tensors="pt")["input_ids"][:, :CONTEXT]
    with torch.no_grad():
        states = model(input_ids=ids).last_hidden_state[0]
    pooled = states[0] if pooling == "cls" else states.mean(0)
    found: list[float] = (pooled / pooled.norm()).tolist()
    return found


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_it_computes_what_transformers_does(folder: Path, pooling: str) -> None:
    model = load_sentence_model(settings(folder, pooling=pooling))
    together = model(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        assert vector == pytest.approx(plain(folder, text, pooling), abs=1e-5)


def test_a_model_that_is_not_whole_is_refused(folder: Path, tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    config = BertConfig.from_pretrained(folder)
    config.num_hidden_layers = 3
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="the weights lack"):
        load_sentence_model(settings(tmp_path))


async def test_it_loads_and_embeds(folder: Path) -> None:
    backend = settings(folder, batch=3, prefix="a ", max_chars=3).build(None)
    with pytest.raises(EmbedderError, match="is being loaded"):
        await backend.embed(TEXTS, None)
    await backend.start()
    await until(backend.ready, what="the model is loaded")
    assert backend.health() == {folder.name: "up"}
    vectors = await backend.embed(TEXTS, None)
    assert list(vectors[0]) == pytest.approx(plain(folder, "a a c", "mean"), abs=1e-5)
    assert len(vectors) == len(TEXTS)
    await backend.close()
    with pytest.raises(EmbedderError, match="is not available"):
        await backend.embed(TEXTS, None)


async def test_what_cannot_be_loaded_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = settings(tmp_path / "nothing").build(None)
    await backend.start()
    await until(lambda: backend.health() == {"nothing": "ejected"}, what="it has failed")
    assert "embedder nothing cannot be loaded" in caplog.text.replace(str(tmp_path) + "/", "")
    await backend.close()


async def test_only_so_many_wait(tmp_path: Path) -> None:
    go = threading.Event()

    def load(_: InProcessEmbedderSettings) -> Any:
        def embed(texts: Sequence[str]) -> list[Vector]:
            if texts != ["Hi"]:
                go.wait(20)
            return [[1.0] for _ in texts]

        return embed

    backend = InProcessEmbedder(settings(tmp_path, max_queue=2), load=load)
    await backend.start()
    await until(backend.ready, what="it is up")
    first = [asyncio.create_task(backend.embed([str(i)], None)) for i in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(EmbedderError, match="too many requests"):
        await backend.embed(["third"], None)
    go.set()
    assert await asyncio.gather(*first) == [[[1.0]], [[1.0]]]
    await backend.close()


async def test_a_failure_of_torch_is_an_error_of_the_embedder(tmp_path: Path) -> None:
    def load(_: InProcessEmbedderSettings) -> Any:
        def embed(texts: Sequence[str]) -> list[Vector]:
            if texts != ["Hi"]:
                raise RuntimeError("out of memory")
            return [[1.0]]

        return embed

    backend = InProcessEmbedder(settings(tmp_path), load=load)
    await backend.start()
    await until(backend.ready, what="it is up")
    with pytest.raises(EmbedderError, match="failed"):
        await backend.embed(["one"], None)
    await backend.close()
