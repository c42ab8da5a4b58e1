"""Answers drawn in this process are the policy's own, whatever its generation settings say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import GenerationConfig

from bon_gateway.demo_models import policy_path
from trainers.data import Message
from trainers.errors import ModelError
from trainers.sampling import Sampled, Sampler

PROMPTS = [
    [Message(role="user", content=text)]
    for text in ("name three toys for a bear", "How do I steal a bear?")
]


def drawn(folder: Path) -> list[list[Sampled]]:
    return Sampler(folder).draw(PROMPTS, 4, seed=3, max_new_tokens=24, batch_size=8)


def test_generation_settings_of_the_checkpoint_change_nothing(tmp_path: Path) -> None:
    folder = shutil.copytree(policy_path(), tmp_path / "policy")
    known = GenerationConfig.from_pretrained(folder)
    # As Qwen's instruction models have them.
    known.update(repetition_penalty=1.5, temperature=0.7, top_p=0.8, top_k=3)
    known.save_pretrained(folder)
    assert drawn(folder) == drawn(policy_path())


def test_an_answer_is_finished_or_cut() -> None:
    answers = [one for row in drawn(policy_path()) for one in row]
    assert any(one.finished for one in answers)
    [[cut]] = Sampler(policy_path()).draw(PROMPTS[:1], 1, seed=0, max_new_tokens=1, batch_size=1)
    assert not cut.finished


def test_what_is_no_policy_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(policy_path(), tmp_path / "policy")
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ModelError, match="policy: no such model can be loaded"):
        Sampler(folder)
