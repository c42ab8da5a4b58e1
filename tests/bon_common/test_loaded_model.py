from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bon_common.loaded_model import (
    UnfitModelError,
    cache_name,
    position_limit,
    refuse_adapter,
    require_policy,
    require_room,
    require_weights,
)


def info(*missing: str, mismatched: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {"missing_keys": set(missing), "mismatched_keys": set(mismatched)}


def test_what_was_made_up_is_named_and_counted() -> None:
    assert require_weights(info()) == []
    with pytest.raises(UnfitModelError, match=r"^the weights lack a, b, c and 2 more$"):
        require_weights(info("e", "d", "c", "b", "a"))
    with pytest.raises(UnfitModelError, match=r"^the weights lack lm_head\.weight$"):
        require_weights(info("lm_head.weight", "score.weight"), lambda name: "score" in name)
    assert require_weights(info("score.weight"), lambda name: "score" in name) == ["score.weight"]
    with pytest.raises(UnfitModelError, match=r"^s is 2x8 in the weights and 1x8 in the model$"):
        require_weights(info(mismatched=(("s", (2, 8), (1, 8)),)))


def test_a_reward_model_is_no_policy() -> None:
    require_policy(SimpleNamespace(architectures=["LlamaForCausalLM"]))
    require_policy(SimpleNamespace(architectures=None))
    with pytest.raises(UnfitModelError, match=r"a reward model \(LlamaForSequenceClassification\)"):
        require_policy(SimpleNamespace(architectures=["LlamaForSequenceClassification"]))


@pytest.mark.parametrize("text", [json.dumps({"base_model_name_or_path": "base"}), "[]", "{"])
def test_an_adapter_is_refused_by_its_base(tmp_path: Path, text: str) -> None:
    refuse_adapter(None)
    (tmp_path / "adapter_config.json").write_text(text)
    name = "base" if "base" in text else "a model that it does not name"
    with pytest.raises(UnfitModelError, match=f"an adapter of {name}, not a whole model"):
        refuse_adapter(tmp_path / "adapter_config.json")


def network(rows: int, positions: int | None = None, **learned: SimpleNamespace) -> Any:
    embedding = SimpleNamespace(weight=SimpleNamespace(shape=(rows, 8)))
    text = SimpleNamespace(max_position_embeddings=positions)
    return SimpleNamespace(
        get_input_embeddings=lambda: embedding,
        config=SimpleNamespace(get_text_config=lambda: text),
        named_modules=lambda: list(learned.items()),
    )


def test_every_token_has_a_row() -> None:
    tokenizer = SimpleNamespace(get_vocab=lambda: {"a": 0, "b": 9})
    require_room(network(10), tokenizer)
    with pytest.raises(UnfitModelError, match=r"token ids up to 9, the embedding has 9 rows"):
        require_room(network(9), tokenizer)


def test_the_caches_name_is_the_networks_own() -> None:
    def older(input_ids: object, past_key_values: object = None) -> None: ...

    def newer(input_ids: object, cache: object = None) -> None: ...

    net = SimpleNamespace(forward=newer)
    adapted = SimpleNamespace(forward=older, get_base_model=lambda: net)
    assert cache_name(SimpleNamespace(forward=older)) == "past_key_values"
    assert cache_name(net) == cache_name(adapted) == "cache"


def test_how_much_a_network_can_read() -> None:
    assert position_limit(network(1)) is None
    assert position_limit(network(1, 40)) == 40
    roberta = SimpleNamespace(num_embeddings=40, padding_idx=1)
    assert position_limit(network(1, 40, position_embeddings=roberta)) == 38
