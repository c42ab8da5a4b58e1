"""Log-probs of answers, by the plain way; the decoded mask; what ends an answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedTokenizerFast

from trainers.errors import ModelError
from trainers.ppo.models import build
from trainers.ppo.policy import answer_logps, end_tokens, load_policy
from trainers.ppo.sequences import Sequences
from trainers.ppo.settings import PpoSettings
from trainers.rendering import prompt_ids


def test_they_are_the_cross_entropy_of_the_whole_sequence(settings: PpoSettings) -> None:
    policy = build(settings).policy
    prompt, answer = [5, 6, 7, 8], [30, 31, 32]
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        logits = policy(ids).logits[0, :-1] / 0.7
        expected = -F.cross_entropy(logits, ids[0, 1:], reduction="none")[-3:]
        found = answer_logps(policy, Sequences.build([prompt], [answer], pad=0), 0.7)
    torch.testing.assert_close(found[0], expected)


def test_the_answer_mask_decodes_to_the_answer_and_its_end(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    prompts = [
        prompt_ids(tokenizer, [{"role": "user", "content": text}])
        for text in ("Name two snacks", "My bear is shy and old")
    ]
    answers = [tokenizer(text)["input_ids"] for text in ("cookies and jam.<eos>", "no<eos>")]
    batch = Sequences.build(prompts, answers, tokenizer.pad_token_id)
    decoded = [
        tokenizer.decode(row[keep])
        for row, keep in zip(batch.answers, batch.answer_mask, strict=True)
    ]
    assert decoded == ["cookies and jam.<eos>", "no<eos>"]
    assert tokenizer.decode(prompts[0]) == "<|user|>Name two snacks<eos><|assistant|>"


def test_dropout_is_off(settings: PpoSettings) -> None:
    parts = build(settings)
    assert not parts.policy.training
    assert not any(module.training for module in parts.value.modules())


def test_every_end_token_of_the_generation_settings_ends_an_answer(
    settings: PpoSettings, tokenizer: PreTrainedTokenizerFast
) -> None:
    policy = load_policy(settings, torch.device("cpu"))
    policy.generation_config.eos_token_id = [4, 3]
    assert end_tokens(policy, tokenizer) == {tokenizer.eos_token_id, 3, 4}


def test_a_layer_that_is_not_there_is_named(values: dict[str, Any]) -> None:
    settings = PpoSettings.model_validate(values | {"lora": {"target_modules": ["nothing"]}})
    with pytest.raises(ModelError, match=r"lora\.target_modules: .*nothing"):
        load_policy(settings, torch.device("cpu"))
