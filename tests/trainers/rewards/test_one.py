from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from reward_server.scoring.render import Renderer
from trainers.base.data import Conversation
from trainers.base.errors import ModelError
from trainers.demo.model import save_untrained_policy
from trainers.demo.tokenizer import build_tokenizer
from trainers.rewards.one import render, score

CONVERSATIONS: list[Conversation] = [
    Conversation([{"role": "user", "content": "name two toys for a bear"}]).said(answer)
    for answer in ("Try ball and kite.", "Ugh.", "Hello, dear! Try ball, kite and drum. Enjoy!")
]


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    tokenizer = build_tokenizer()
    save_untrained_policy(tokenizer, folder / "policy", seed=0)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(folder / "policy", num_labels=1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_batches_equal_transformers_one_at_a_time(reward: Path) -> None:
    tokenizer: Any = build_tokenizer()
    model = AutoModelForSequenceClassification.from_pretrained(reward).eval()
    expected = []
    for conversation in CONVERSATIONS:
        text = tokenizer.apply_chat_template(conversation.messages, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        assert ids[0].tolist() == list(render(Renderer(tokenizer), conversation, "here").ids)
        assert ids[0, -1] == tokenizer.eos_token_id
        with torch.inference_mode():
            expected.append(model(input_ids=ids).logits.item())
    assert len(set(expected)) == 3
    for batch_size in (1, 2, 3):
        assert score(reward, CONVERSATIONS, batch_size) == pytest.approx(expected, abs=1e-5)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    build_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no such model can be loaded"):
        score(tmp_path, CONVERSATIONS, 1)
