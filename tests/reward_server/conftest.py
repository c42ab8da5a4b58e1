"""Small random models on disk, and real servers on loopback ports."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import uvicorn
from fastapi import FastAPI
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from tests.waiting import wait_until

PAD, BOS, EOS, USER, ASSISTANT = range(5)
SPECIALS = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>"]
CONTEXT = 96
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role not in ['user', 'assistant', 'system'] %}"
    "{{ raise_exception('unknown role ' + message.role) }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}{% if message.tool_calls %}"
    "{{ message.tool_calls[0].function.arguments | tojson }}{% endif %}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def byte_tokenizer() -> Tokenizer:
    """One token a byte, behind the special tokens; frames a bare text with BOS and EOS."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIALS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[("<s>", BOS), ("</s>", EOS)],
    )
    return tokenizer


def save_chat_tokenizer(folder: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(), pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def save_llama(folder: Path, **overrides: object) -> Path:
    """A random two-layer reward model whose rewards differ by far more than rounding."""
    ids = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    special: dict[str, Any] = {**ids, "num_labels": 1, **overrides}
    config = LlamaConfig(
        vocab_size=len(SPECIALS) + 256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        attention_dropout=0.5,
        **special,
    )
    torch.manual_seed(7)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    save_chat_tokenizer(folder)
    return folder


def save_bert(folder: Path) -> Path:
    config = BertConfig(  # type: ignore[call-arg]  # every config takes it
        vocab_size=len(SPECIALS) + 256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        pad_token_id=PAD,
        num_labels=1,
    )
    torch.manual_seed(8)
    BertForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(),
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def three_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = {0: "helpful", 1: "safe", 2: "short"}
    return save_llama(
        tmp_path_factory.mktemp("labels"),
        num_labels=3,
        id2label=labels,
        label2id={name: i for i, name in labels.items()},
    )


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"))


@contextmanager
def running(app: FastAPI) -> Iterator[httpx.Client]:
    """Serve `app` in a thread until its model is ready; yield a client of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            app, loop="uvloop", http="httptools", log_config=None, timeout_graceful_shutdown=2
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200)
            yield client
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[[FastAPI], httpx.Client]]:
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(running(app))


def sample(client: httpx.Client, name: str) -> float:
    """Read one metric, summed over the models; without labels in `name` over all of them."""
    total = 0.0
    for line in client.get("/metrics").text.splitlines():
        series, _, value = line.rpartition(" ")
        if series == name or ("{" not in name and series.startswith(name + "{")):
            total += float(value)
    return total
