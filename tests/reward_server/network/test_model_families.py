"""Parity with transformers over architectures: where each reads its output, and under padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from reward_server.network.model import RewardModel

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_labels": 1,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "max_position_embeddings": 40,
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40}

FAMILIES: list[tuple[str, str, int | None, dict[str, Any]]] = [
    ("qwen2", "last_token", 40, {"num_key_value_heads": 2}),
    ("qwen3", "last_token", 40, {"num_key_value_heads": 2, "head_dim": 8}),
    ("mistral", "last_token", 40, {"num_key_value_heads": 2, "sliding_window": 6}),
    ("gemma2", "last_token", 40, {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 6}),
    ("gpt2", "last_token", 40, GPT2),
    ("gpt_neox", "last_token", 40, {}),
    ("bloom", "last_token", None, {"max_position_embeddings": None}),
    ("opt", "last_token", 40, {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    ("bert", "model", 40, {}),
    ("roberta", "model", 39, {}),
    ("distilbert", "model", 40, {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
    ("deberta-v2", "model", 40, {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    ("modernbert", "model", 40, {"global_attn_every_n_layers": 2, "local_attention": 8}),
    ("electra", "model", 40, {"embedding_size": 32}),
]


# deberta-v2 compiles functions with torch.jit when it is imported.
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize(("family", "pooling", "limit", "changes"), FAMILIES)
def test_a_padded_batch_agrees_with_one_at_a_time(
    family: str, pooling: str, limit: int | None, changes: dict[str, Any]
) -> None:
    torch.manual_seed(3)
    config = AutoConfig.for_model(family, **{**SMALL, **changes})
    net = AutoModelForSequenceClassification.from_config(config).float().eval()
    model = RewardModel(net)
    assert model.pooling == pooling
    assert model.context_limit == limit
    model.check_padding()
    generator = torch.Generator().manual_seed(1)
    sequences = [
        torch.randint(3, 64, (length,), generator=generator).tolist()
        for length in [3, 39, 11, 1, 24, 2]
    ]
    with torch.inference_mode():
        expected = [net(torch.tensor([ids])).logits.item() for ids in sequences]
    assert model.score(sequences) == pytest.approx(expected, abs=2e-5)
    assert max(expected) - min(expected) > 1e-3, "rewards too alike to tell"


def test_capped_attention_scores_are_capped() -> None:
    """torch's own attention has no cap, and the library may leave it out without a word."""
    torch.manual_seed(3)
    changes = {"num_key_value_heads": 2, "head_dim": 8, "attn_logit_softcapping": 0.5}
    config = AutoConfig.for_model("gemma2", **{**SMALL, **changes})
    net = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    exact = net.float().eval()(torch.tensor([[5, 6, 7, 8]])).logits.item()
    plain: Any = AutoModelForSequenceClassification.from_config(config).float().eval()
    plain.load_state_dict(net.state_dict())
    assert RewardModel(plain).score([[5, 6, 7, 8]])[0] == pytest.approx(exact, abs=1e-5)
    uncapped = AutoConfig.for_model(
        "gemma2", **{**SMALL, **changes, "attn_logit_softcapping": None}
    )
    other: Any = AutoModelForSequenceClassification.from_config(uncapped).float().eval()
    other.load_state_dict(net.state_dict())
    assert abs(RewardModel(other).score([[5, 6, 7, 8]])[0] - exact) > 1e-3
