"""The folder that an engine loads: what the policy computes with, each weight under its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bon_gateway.demo_models import policy_path
from trainers.policy.logits import answer_logps
from trainers.policy.sequences import Sequences
from trainers.ppo.engine_weights import whole_weights, write_weights
from trainers.ppo.models import build
from trainers.ppo.policy import load_policy
from trainers.ppo.settings import PpoSettings

CPU = torch.device("cpu")


def test_a_tied_output_layer_is_in_the_file(values: dict[str, Any], tmp_path: Path) -> None:
    """vLLM's CPU engine keeps the packed copy of one that is not."""
    settings = PpoSettings.model_validate(values | {"model": str(policy_path())})
    policy = load_policy(settings, CPU)
    assert policy.lm_head.weight is policy.model.embed_tokens.weight
    write_weights(policy, tmp_path / "weights")
    written = load_file(tmp_path / "weights" / "model.safetensors")
    assert written.keys() == policy.state_dict().keys()
    assert torch.equal(written["lm_head.weight"], policy.model.embed_tokens.weight)


@pytest.mark.parametrize("tied", [False, True])
def test_adapters_are_added_into_the_weights_and_stay_what_they_were(
    values: dict[str, Any], tmp_path: Path, tied: bool
) -> None:
    """Also where the output layer shares its weights with the embedding."""
    model = {"model": str(policy_path())} if tied else {}
    settings = PpoSettings.model_validate(values | model | {"lora": {"r": 4}})
    policy = build(settings).policy
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:  # it starts at 0, where an adapter does nothing
                parameter.add_(torch.randn(parameter.shape, generator=random), alpha=0.1)
    batch = Sequences.build([[5, 6, 7], [8]], [[30, 31], [32, 33, 34]], pad=0)
    with torch.no_grad():
        expected = answer_logps(policy, batch, 1.0)
        write_weights(policy, tmp_path / "weights")
        assert torch.equal(answer_logps(policy, batch, 1.0), expected)
        again = settings.model_copy(update={"model": str(tmp_path / "weights"), "lora": None})
        plain = load_policy(again, CPU)
        found = answer_logps(plain, batch, 1.0)
        base = answer_logps(
            load_policy(settings.model_copy(update={"lora": None}), CPU), batch, 1.0
        )
    mask = batch.answer_mask
    torch.testing.assert_close(found[mask], expected[mask], atol=3e-6, rtol=0)
    assert (base - expected)[mask].abs().max() > 0.01
    assert whole_weights(policy).keys() == plain.state_dict().keys()
