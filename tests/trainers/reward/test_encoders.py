"""Encoders as published bring no head, and often no pooler: both are trained, kept and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoTokenizer

from tests.trainers.reward.conftest import START, MakeSettings
from trainers.base.context import RunContext
from trainers.base.data import Conversation
from trainers.base.errors import ModelError
from trainers.export.run import export
from trainers.export.settings import ExportSettings
from trainers.reward.network import load_network, trained_whole
from trainers.reward.run import train_reward
from trainers.rewards.one import score
from trainers.runtime.trained import NAME

TURNS: Any = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "name a kite"}]
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "max_position_embeddings": 256,
}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
# deberta-v2 compiles functions with torch.jit when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")


def save_encoder(family: str, changes: dict[str, Any], bert: Path, folder: Path) -> Path:
    """An encoder without any head or pooler, as its language model was published."""
    tokenizer = AutoTokenizer.from_pretrained(bert)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    config = AutoConfig.for_model(family, **{**SMALL, **changes, "vocab_size": len(tokenizer)})
    AutoModel.from_config(config).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "pooler" not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save_pretrained(folder)
    return folder


FAMILIES = [
    ("deberta-v2", DEBERTA, ["pooler", "classifier"]),
    ("distilbert", DISTIL, ["pre_classifier", "classifier"]),
    ("bert", {}, ["classifier", "bert.pooler.dense"]),
    ("roberta", {"pad_token_id": 1}, ["classifier"]),
    ("modernbert", {"global_attn_every_n_layers": 2}, ["head", "classifier"]),
    ("electra", {"embedding_size": 32}, ["classifier"]),
]


@pytest.mark.parametrize(("family", "changes", "new"), FAMILIES)
def test_an_adapter_on_an_encoder_is_the_model_that_was_trained(
    family: str,
    changes: dict[str, Any],
    new: list[str],
    bert: Path,
    tmp_path: Path,
    settings: MakeSettings,
) -> None:
    base = save_encoder(family, changes, bert, tmp_path / "base")
    run = settings(
        model=str(base), max_length=200, batch_size=24, max_steps=2, lora={"r": 2},
        learning_rate=0.01,
    )  # fmt: skip
    assert trained_whole(load_network(run)) == new
    train_reward(run, START)
    trained = score(run.output, [Conversation(TURNS)], 1)
    for name in ("first", "second"):
        exported = ExportSettings(model=str(run.output / "adapter"), output=tmp_path / name)
        export(exported, RunContext("bon-train export", show=lambda text: None))
        assert score(tmp_path / name, [Conversation(TURNS)], 1) == pytest.approx(trained, abs=1e-5)


def test_an_adapter_that_does_not_bring_what_its_base_lacks_is_refused(
    bert: Path, tmp_path: Path, settings: MakeSettings
) -> None:
    base = save_encoder("deberta-v2", DEBERTA, bert, tmp_path / "base")
    run = settings(model=str(base), max_length=200, batch_size=24, max_steps=1, lora={"r": 2})
    train_reward(run, START)
    adapter = run.output / "adapter"
    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({k: v for k, v in weights.items() if "pooler" not in k}, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"base: the weights lack pooler\.dense\.bias"):
        export(ExportSettings(model=str(adapter), output=tmp_path / "served"), START)


def test_an_adapter_on_another_base_is_refused(
    tmp_path: Path, bert: Path, settings: MakeSettings
) -> None:
    """It loads without an error; only what the training recorded tells."""
    bases = [save_encoder("bert", {}, bert, tmp_path / name) for name in ("one", "two")]
    run = settings(model=str(bases[0]), max_length=200, batch_size=24, max_steps=1, lora={"r": 2})
    train_reward(run, START)
    other = ExportSettings(
        model=str(run.output / "adapter"), base=str(bases[1]), output=tmp_path / "served"
    )
    with pytest.raises(ModelError, match=rf"adapter: what was loaded differs by .* \({NAME}\)"):
        export(other, START)
    assert not (tmp_path / "served").exists()
