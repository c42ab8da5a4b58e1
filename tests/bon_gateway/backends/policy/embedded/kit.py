"""Models for these tests: a tiny random one on disk, and networks that do as they are told."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bon_gateway.backends.policy.embedded.events import Event
from bon_gateway.backends.policy.embedded.generation import GenerationJob, GenerationTask
from bon_gateway.backends.policy.embedded.loading import LoadedModel
from bon_gateway.backends.policy.embedded.network import CausalNetwork
from bon_gateway.backends.policy.embedded.params import SamplingParams
from bon_gateway.backends.policy.embedded.policy import TransformersPolicy
from bon_gateway.errors import GatewayError
from bon_gateway.protocols import Trace
from bon_gateway.types import ChatRequest, Completion, Delta, Sample

OpenPolicy = Callable[..., Awaitable[TransformersPolicy]]
"""The fixture ``open_policy``: a model that is loaded, ``max_active`` and settings, to a policy."""

PAD, EOS, USER, ASSISTANT = range(4)
SPECIALS = ["<pad>", "</s>", "<|user|>", "<|assistant|>"]
MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("Ã", "©")]
CONTEXT = 256
SIZES: dict[str, Any] = {
    "vocab_size": len(SPECIALS) + 256 + len(MERGES),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
    "pad_token_id": PAD,
}
"""Of models that read with ``save_tokenizer``'s tokenizer."""
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role not in ['user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message.role) }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if shout is defined %}{{ shout }}{% endif %}"
    "{% endif %}"
)


def save_tokenizer(folder: Path) -> None:
    """Byte-level, so that characters are spread over tokens, with a few merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*SPECIALS, *alphabet, *("".join(pair) for pair in MERGES)]
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIALS)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)


def save_model(folder: Path) -> Path:
    """A random Llama whose distributions are neither flat nor sharp."""
    config = LlamaConfig(
        **SIZES,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=EOS,
        bos_token_id=None,
    )
    torch.manual_seed(3)
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=EOS, pad_token_id=PAD)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


class Script(CausalNetwork):
    """A network that says the given tokens after any prompt, whatever was sampled."""

    def __init__(self, tokens: Sequence[int], vocabulary: int) -> None:
        self.prefill_chunk = None
        self._tokens = list(tokens)
        self._vocabulary = vocabulary

    def __call__(self, tokens: Tensor, cache: Any | None) -> tuple[Tensor, Any]:
        place = 0 if cache is None else cache
        logits = torch.zeros(tokens.shape[0], self._vocabulary)
        logits[:, self._tokens[place]] = 50.0
        return logits, place + 1

    def take(self, cache: Any, rows: Tensor) -> None:
        pass


class Watched(CausalNetwork):
    """A network with a turnstile in front: each call needs a permit, and is written down."""

    def __init__(self, network: CausalNetwork, *, permits: int | None = None) -> None:
        """Without ``permits`` every call passes."""
        self._network = network
        self.prefill_chunk = network.prefill_chunk
        self._permits = None if permits is None else threading.Semaphore(permits)
        self.calls: list[tuple[int, int]] = []
        """Rows and tokens of each call that passed."""
        self.fails: Callable[[Tensor], bool] = lambda tokens: False

    def __call__(self, tokens: Tensor, cache: Any | None) -> tuple[Tensor, Any]:
        if self._permits is not None and not self._permits.acquire(timeout=20):
            raise TimeoutError("no permit came")
        self.calls.append((tokens.shape[0], tokens.shape[1]))
        if self.fails(tokens):
            raise RuntimeError("CUDA error:\nout of luck")
        return self._network(tokens, cache)

    def permit(self, calls: int = 1) -> None:
        assert self._permits is not None
        self._permits.release(calls)

    def take(self, cache: Any, rows: Tensor) -> None:
        self._network.take(cache, rows)


def scripted(loaded: LoadedModel, tokens: Sequence[int]) -> LoadedModel:
    return dataclasses.replace(loaded, network=Script(tokens, loaded.vocabulary))


def ids_of(loaded: LoadedModel, text: str) -> list[int]:
    return list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])


def generate(
    loaded: LoadedModel,
    prompt: Sequence[int],
    *,
    max_tokens: int = 20,
    indices: Sequence[int] = (0,),
    seed: int = 0,
    stream: bool = False,
    **params: Any,
) -> list[Event]:
    """Run a generation to its end in this thread; its events in order."""
    events: list[Event] = []
    task = GenerationTask(
        prompt=prompt,
        params=SamplingParams(**params),
        max_tokens=max_tokens,
        indices=indices,
        seeds=[seed + index for index in indices],
        stream=stream,
        tokens={},
        emit=events.append,
    )
    generation = GenerationJob(loaded, task)
    while not generation.over:
        generation.step()
    return events


def complete(loaded: LoadedModel, prompt: Sequence[int], **options: Any) -> dict[int, Completion]:
    """The completions of ``generate`` by index."""
    return completions(generate(loaded, prompt, **options))


def completions(events: Sequence[Event]) -> dict[int, Completion]:
    found = {}
    for event in events:
        assert isinstance(event, Sample)
        assert isinstance(event.outcome, Completion), event.outcome
        found[event.index] = event.outcome
    return found


def request(content: Any = "hello", *, seed: int | None = 1, **sampling: Any) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": content}], sampling, seed, 1, "test")


async def draw(
    policy: TransformersPolicy, asked: ChatRequest, n: int = 1, trace: Trace | None = None
) -> dict[int, Completion | GatewayError]:
    """Outcomes by index."""
    samples: list[Sample] = []
    await policy.sample(asked, range(n), trace or Trace(), samples.append)
    return {sample.index: sample.outcome for sample in samples}


async def read(policy: TransformersPolicy, asked: ChatRequest) -> list[Delta]:
    return [delta async for delta in policy.stream(asked, Trace())]


def text_of(deltas: Sequence[Delta | Event]) -> str:
    """What a client would join the deltas to."""
    choices = [delta.choice or {} for delta in deltas if isinstance(delta, Delta)]
    return "".join(choice["delta"].get("content", "") for choice in choices)
