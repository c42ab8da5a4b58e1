from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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


def test_precision(folder: Path) -> None:
    network = load_causal_model(settings(folder, dtype="bfloat16")).network
    logits, _ = network(torch.tensor([[5]]), None)
    assert logits.dtype == torch.bfloat16


def test_a_model_that_cannot_chat_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m/chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="chat template"):
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
