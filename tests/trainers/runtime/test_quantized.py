"""QLoRA: refused where it cannot run, merged into the weights that it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tests.trainers.runtime.helpers import START, logs
from tests.trainers.small import policy_path, reward_path
from trainers.base.errors import ModelError
from trainers.base.settings import LoraSettings, TrainSettings
from trainers.runtime.lora import Task, lora_config, merged
from trainers.sft.run import train_sft
from trainers.sft.settings import SftSettings


def values(world: Path, output: Path) -> dict[str, Any]:
    return {
        "model": policy_path(),
        "train": world / "sft.jsonl",
        "output": output,
        "lora": {"r": 4},
        "quantization": "nf4",
        "batch_size": 4,
        "max_steps": 2,
        "log_every": 1,
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_it_is_refused_without_a_gpu(world: Path, tmp_path: Path) -> None:
    settings = SftSettings.model_validate(values(world, tmp_path / "out"))
    with pytest.raises(ModelError, match=r"^quantization: nf4 needs a CUDA GPU"):
        train_sft(settings, START)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_it_needs_an_adapter() -> None:
    with pytest.raises(ValueError, match=r"quantization: .*set lora"):
        TrainSettings(model="a", train=Path("b"), output=Path("c"), quantization="nf4")


@pytest.mark.parametrize(
    ("kind", "task", "path"),
    [
        (AutoModelForCausalLM, "CAUSAL_LM", policy_path),
        (AutoModelForSequenceClassification, "SEQ_CLS", reward_path),
    ],
)
def test_the_adapter_is_added_to_the_weights_it_was_loaded_from(
    kind: Any, task: Task, path: Any
) -> None:
    config = lora_config(LoraSettings(r=4), task, ["score"] if task == "SEQ_CLS" else [])
    assert config is not None
    model: Any = get_peft_model(kind.from_pretrained(path()), config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.get_base_model().is_loaded_in_4bit = True
    ours = merged(model).state_dict()
    model.get_base_model().is_loaded_in_4bit = False
    theirs = merged(model).state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-6)
    assert any(not ours[n].equal(t) for n, t in kind.from_pretrained(path()).state_dict().items())


@pytest.mark.gpu
def test_a_run_on_four_bits_ends_with_float32_weights(world: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    settings = SftSettings.model_validate(values(world, tmp_path / "out") | {"max_steps": 10})
    train_sft(settings, START)
    losses = [entry["loss"] for entry in logs(settings.output)]
    assert losses[-1] < losses[0]
    whole = AutoModelForCausalLM.from_pretrained(settings.output)
    assert {parameter.dtype for parameter in whole.parameters()} == {torch.float32}
