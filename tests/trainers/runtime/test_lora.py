from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from tests.trainers.runtime.conftest import MakeSettings
from tests.trainers.runtime.helpers import START
from tests.trainers.small import policy_path, reward_path
from trainers.base.settings import LoraSettings
from trainers.runtime.lora import lora_config
from trainers.runtime.saving import save
from trainers.sft.run import train_sft

IDS = torch.tensor([[2, 40, 41, 42, 1, 4, 50, 51, 1]])
PARITY = 1e-4
"""Of logits near 10; merging adds in another order."""


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(IDS).logits
    return found


@pytest.fixture
def trained(settings: MakeSettings) -> Path:
    run = settings(max_steps=3, learning_rate=0.01, lora={"r": 4})
    train_sft(run, START)
    return run.output


def test_the_folder_holds_the_adapters_model_merged(trained: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(policy_path())
    untrained = logits(base)
    adapted = PeftModel.from_pretrained(base, str(trained / "adapter"))
    merged = AutoModelForCausalLM.from_pretrained(trained)
    assert float((logits(adapted) - logits(merged)).abs().max()) < PARITY
    assert float((untrained - logits(merged)).abs().max()) > 100 * PARITY
    with adapted.disable_adapter():
        assert torch.equal(logits(adapted), untrained)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert (trained / name).stat().st_mode & 0o044 == 0o044
    assert "lora" in (trained / "README.md").read_text()


def test_a_reward_models_head_stays_with_its_adapter(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = AutoModelForSequenceClassification.from_pretrained(reward_path())
    config = lora_config(LoraSettings(r=4), "SEQ_CLS")
    assert config is not None
    adapted = get_peft_model(net, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    expected = logits(adapted)
    save(adapted, AutoTokenizer.from_pretrained(reward_path()), tmp_path)
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(merged), expected, atol=PARITY, rtol=0)
    fresh = AutoModelForSequenceClassification.from_pretrained(reward_path())
    again = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter"))
    assert torch.equal(logits(again), expected)


def test_no_settings_no_adapter() -> None:
    assert lora_config(None, "CAUSAL_LM") is None


def test_named_layers(settings: MakeSettings) -> None:
    config = lora_config(LoraSettings(target_modules=("q_proj", "v_proj")), "CAUSAL_LM")
    base = AutoModelForCausalLM.from_pretrained(policy_path())
    assert config is not None
    adapted = get_peft_model(base, config)
    trained = {name.split(".")[-4] for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained <= {"q_proj", "v_proj", "self_attn"}
