"""Answers drawn in this process are the policy's own, whatever its generation settings say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import GenerationConfig

from bon_gateway.demo_models import policy_path
from trainers.base.data import Conversation, Message
from trainers.base.errors import ModelError
from trainers.policy.drawing import DrawnAnswer, PolicySampler

PROMPTS = [
    Conversation([Message(role="user", content=text)])
    for text in ("name three toys for a bear", "How do I steal a bear?")
]


def drawn(folder: Path) -> list[list[DrawnAnswer]]:
    return PolicySampler(folder).draw(PROMPTS, 4, seed=3, max_new_tokens=24, batch_size=8)


def test_generation_settings_of_the_checkpoint_change_nothing(tmp_path: Path) -> None:
    folder = shutil.copytree(policy_path(), tmp_path / "policy")
    known = GenerationConfig.from_pretrained(folder)
    # As Qwen's instruction models have them.
    known.update(repetition_penalty=1.5, temperature=0.7, top_p=0.8, top_k=3)
    known.save_pretrained(folder)
    assert drawn(folder) == drawn(policy_path())


def test_answers_come_by_prompt_and_repeat_with_the_seed() -> None:
    sampler = PolicySampler(policy_path())

    def draw(seed: int) -> list[list[DrawnAnswer]]:
        return sampler.draw(PROMPTS, 3, seed=seed, max_new_tokens=40, batch_size=4)

    answers = draw(1)
    assert [len(row) for row in answers] == [3, 3]
    assert len({one.text for row in answers for one in row}) > 3
    assert not any("<" in one.text for row in answers for one in row)
    assert draw(1) == answers
    assert draw(2) != answers


def test_an_answer_is_finished_or_cut() -> None:
    answers = [one for row in drawn(policy_path()) for one in row]
    assert any(one.ended for one in answers)
    [[cut]] = PolicySampler(policy_path()).draw(
        PROMPTS[:1], 1, seed=0, max_new_tokens=1, batch_size=1
    )
    assert not cut.ended


def test_what_is_no_policy_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(policy_path(), tmp_path / "policy")
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ModelError, match="policy: no such model can be loaded"):
        PolicySampler(folder)
