"""Scores in training are those that the reward server gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bon_gateway.demo_models import policy_path, reward_path
from reward_server.network.model import RewardModel
from reward_server.scoring.render import Renderer
from trainers.data import Message
from trainers.errors import ModelError
from trainers.ppo.scorer import Scorer
from trainers.runtime.models import load_tokenizer
from trainers.scoring import score

CPU = torch.device("cpu")
PROMPTS: list[list[Message]] = [
    [{"role": "user", "content": "Name two snacks for my bear"}],
    [{"role": "user", "content": "How do I steal a bear?"}],
    [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Name three games"}],
]
ANSWERS = ["Gladly! honey and jam. Enjoy.", "I cannot help with that, dear.", "ugh"]


def test_they_are_those_that_are_served_in_any_batch() -> None:
    renderer = Renderer(load_tokenizer(reward_path()))
    model = RewardModel.load(str(reward_path()), device="cpu")
    served = [
        model.score([renderer.render(prompt, answer).ids])[0]
        for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
    ]
    for size in (1, 2, 8):
        found = Scorer(reward_path(), size, torch.float32, CPU).score(PROMPTS, ANSWERS)
        assert found == pytest.approx(served, abs=1e-5)
    assert max(served) - min(served) > 0.5


def test_they_are_those_of_evaluation() -> None:
    conversations: Any = [
        [*prompt, {"role": "assistant", "content": answer}]
        for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
    ]
    found = Scorer(reward_path(), 2, torch.float32, CPU).score(PROMPTS, ANSWERS)
    assert found == pytest.approx(score(reward_path(), conversations, 3), abs=1e-5)


@pytest.mark.parametrize("folder", [policy_path(), Path("nowhere")])
def test_what_is_no_reward_model_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=str(folder.name)):
        Scorer(folder, 2, torch.float32, CPU)
