from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from bon_gateway import demo_models
from bon_gateway.backends.policy.embedded.loading import LoadedModel, load_causal_model
from bon_gateway.backends.policy.embedded.network import PREFILL_CHUNK
from bon_gateway.backends.policy.embedded.settings import TransformersPolicySettings
from tests.bon_gateway.backends.policy.embedded.kit import CONTEXT, EOS, complete, ids_of


def settings(folder: Path, **fields: object) -> TransformersPolicySettings:
    return TransformersPolicySettings.model_validate(
        {"type": "transformers", "model": str(folder), "device": "cpu", **fields}
    )


def test_what_is_read_off_the_checkpoint(loaded: LoadedModel) -> None:
    assert loaded.context == CONTEXT
    assert loaded.eos_ids == {EOS}
    assert loaded.vocabulary == len(loaded.tokenizer)
    assert loaded.defaults == {}
    assert loaded.network.prefill_chunk == PREFILL_CHUNK


def test_generation_config_gives_defaults_and_ends(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m/generation_config.json").write_text(
        '{"eos_token_id": [5, 6], "temperature": 0.7, "top_k": 20, "do_sample": true}'
    )
    loaded = load_causal_model(settings(tmp_path / "m"))
    assert loaded.eos_ids == {EOS, 5, 6}
    assert loaded.defaults == {"temperature": 0.7, "top_k": 20}
    ours = {"temperature": 0.2, "top_p": 0.9}
    loaded = load_causal_model(settings(tmp_path / "m", generation=ours))
    assert loaded.defaults == {"temperature": 0.2, "top_k": 20, "top_p": 0.9}


def test_precision(folder: Path) -> None:
    network = load_causal_model(settings(folder, dtype="bfloat16")).network
    logits, _ = network(torch.tensor([[5]]), None)
    assert logits.dtype == torch.bfloat16


def test_a_model_that_cannot_chat_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m/chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="chat template"):
        load_causal_model(settings(tmp_path / "m"))


def drop(folder: Path, part: str) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if part not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("part", [".layers.1.", "lm_head."])
def test_a_model_that_lacks_weights_is_refused(folder: Path, tmp_path: Path, part: str) -> None:
    shutil.copytree(folder, tmp_path / "m")
    drop(tmp_path / "m", part)
    with pytest.raises(ValueError, match=f"the weights lack .*{part}"):
        load_causal_model(settings(tmp_path / "m"))


def test_a_reward_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a reward model .*, not a policy"):
        load_causal_model(settings(demo_models.reward_path()))


def test_a_tokenizer_of_more_tokens_than_the_embedding_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "m")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match=r"the tokenizer has token ids up to \d+, the embedding"):
        load_causal_model(settings(tmp_path / "m"))


@pytest.mark.parametrize("whole", [True, False])
def test_an_adapter_is_refused(folder: Path, tmp_path: Path, whole: bool) -> None:
    """Also where a whole model lies in the same folder: the library would load both."""
    if whole:
        shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m").mkdir(exist_ok=True)
    (tmp_path / "m/adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')
    with pytest.raises(ValueError, match="an adapter of some/base, not a whole model"):
        load_causal_model(settings(tmp_path / "m"))


def test_the_demo_policy_answers() -> None:
    loaded = load_causal_model(settings(demo_models.policy_path()))
    prompt = ids_of(loaded, "<|user|>Hello!<eos><|assistant|>")
    drawn = complete(loaded, prompt, indices=range(4), max_tokens=100)
    assert {c.finish_reason for c in drawn.values()} <= {"stop", "length"}
    assert all(completion.message["content"] for completion in drawn.values())


def test_importing_the_backends_loads_no_torch() -> None:
    code = (
        "import sys, bon_gateway.backends.policy.embedded.policy,"
        " bon_gateway.backends.reward.in_process;"
        "sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
