"""Architectures of every kind of cache: they may differ in nothing but their numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_outputs import CausalLMOutput

from bon_gateway.backends.policy.embedded.loading import LoadedModel
from bon_gateway.backends.policy.embedded.network import PREFILL_CHUNK, CausalNetwork
from tests.bon_gateway.backends.policy.embedded.kit import EOS, PAD, complete

PROMPT = list(range(10, 60))
SIZES = {
    "vocab_size": 264, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": None, "initializer_range": 0.3,
}  # fmt: skip
KINDS: Mapping[str, Mapping[str, Any]] = {
    "gpt2": {
        "vocab_size": 264, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256,
        "bos_token_id": None, "eos_token_id": EOS, "initializer_range": 0.3,
    },
    "qwen2": SIZES,
    "mistral": {**SIZES, "sliding_window": 16},
    "gemma3_text": {**SIZES, "head_dim": 8, "sliding_window": 16},
    "qwen3_next": {
        **SIZES, "head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8, "num_experts": 4,
        "num_experts_per_tok": 2, "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
}  # fmt: skip
CHUNKED = {"gpt2", "qwen2", "mistral", "gemma3_text"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_cache(loaded: LoadedModel, kind: str) -> None:
    """Greedy is transformers' own; a candidate is the same alone, and after a prompt in pieces."""
    torch.manual_seed(1)
    config = AutoConfig.for_model(kind, **KINDS[kind])
    model: Any = AutoModelForCausalLM.from_config(config).eval()
    network = CausalNetwork(model)
    network.probe(torch.device("cpu"))
    assert network.prefill_chunk == (PREFILL_CHUNK if kind in CHUNKED else None)
    if kind in CHUNKED:
        network.prefill_chunk = 7
    here = dataclasses.replace(loaded, network=network)

    def draw(**options: Any) -> dict[int, list[int]]:
        drawn = complete(here, PROMPT, max_tokens=20, return_token_ids=True, **options)
        return {index: completion.extra["token_ids"] for index, completion in drawn.items()}

    expected = model.generate(
        torch.tensor([PROMPT]),
        attention_mask=torch.ones(1, len(PROMPT), dtype=torch.long),
        do_sample=False,
        max_new_tokens=20,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )[0, len(PROMPT) :].tolist()
    assert draw(temperature=0.0, indices=[0, 1]) == {0: expected, 1: expected}
    together = draw(indices=range(6), logit_bias={EOS: 4.0})
    for index, tokens in together.items():
        assert draw(indices=[index], logit_bias={EOS: 4.0}) == {index: tokens}


class Forgetful:
    """A network without a cache."""

    def __call__(self, **inputs: Any) -> Any:
        return self.forward(**inputs)

    def forward(self, input_ids: torch.Tensor, use_cache: bool, past_key_values: None) -> Any:
        logits: Any = torch.zeros(*input_ids.shape, 264)
        return CausalLMOutput(logits=logits)


def test_a_model_without_such_a_cache_is_refused() -> None:
    network = CausalNetwork(Forgetful())
    with pytest.raises(ValueError, match="no cache"):
        network.probe(torch.device("cpu"))
