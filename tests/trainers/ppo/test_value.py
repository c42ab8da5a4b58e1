"""Where the value model starts, and which states it judges."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaForSequenceClassification

from tests.trainers.tiny import tiny_config
from trainers.base.errors import ModelError
from trainers.base.loading import load_tokenizer
from trainers.demo.tokenizer import build_tokenizer
from trainers.policy.logits import answer_logps
from trainers.policy.sequences import Sequences
from trainers.ppo.models import build
from trainers.ppo.rewards import answer_scores
from trainers.ppo.settings import PpoSettings, RewardShapeSettings
from trainers.ppo.value import value_from_policy, value_from_reward

CPU = torch.device("cpu")
BATCH = Sequences.build([[5, 6, 7], [8]], [[30, 31], [32, 33, 34]], pad=0)


def test_from_the_reward_model_it_says_what_that_says_before_each_token(tiny: Path) -> None:
    value = value_from_reward(tiny / "reward", CPU, load_tokenizer(tiny / "policy"))
    net = AutoModelForSequenceClassification.from_pretrained(tiny / "reward").eval()
    with torch.no_grad():
        values = value(BATCH)
        for row, whole in enumerate(([5, 6, 7, 30, 31], [8, 32, 33, 34])):
            prompt = 3 if row == 0 else 1
            for place in range(len(whole) - prompt):
                # The state holds the prompt and the tokens drawn before, not the next one.
                state = torch.tensor([whole[: prompt + place]])
                expected = net(state, attention_mask=torch.ones_like(state)).logits[0, 0]
                torch.testing.assert_close(values[row, place], expected, rtol=1e-4, atol=1e-5)


def test_it_starts_on_the_scale_of_the_shaped_scores(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny / "policy")
    plain = value_from_reward(tiny / "reward", CPU, tokenizer)
    shape = RewardShapeSettings(shift=0.5, scale=4.0)
    shaped = value_from_reward(tiny / "reward", CPU, tokenizer, shape)
    with torch.no_grad():
        expected = answer_scores(plain(BATCH), torch.zeros(2, 3, dtype=torch.bool), shape)
        torch.testing.assert_close(shaped(BATCH)[BATCH.answer_mask], expected[BATCH.answer_mask])


def test_from_the_policy_it_starts_at_0_and_can_learn(tiny: Path) -> None:
    value = value_from_policy(str(tiny / "policy"), None, CPU)
    values = value(BATCH)
    assert torch.equal(values, torch.zeros(2, 3))
    (values - 1).square().sum().backward()
    assert value.head.weight.grad is not None
    assert value.head.weight.grad.abs().max() > 0


def test_another_vocabulary_is_refused(tiny: Path, tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["<other>"])
    net = LlamaForSequenceClassification(tiny_config(tokenizer))
    net.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"not the policy's vocabulary; set value\.start"):
        value_from_reward(tmp_path, CPU, load_tokenizer(tiny / "policy"))


def test_padding_moves_no_log_prob_and_no_value(settings: PpoSettings) -> None:
    parts = build(settings)
    long = [[20] * 30, [21] * 2, [22] * 9]
    answers = [[30, 31], [32] * 17, [33]]
    together = Sequences.build(long, answers, pad=0)
    policy, value = parts.policy.double(), parts.value.double()
    with torch.no_grad():
        logps, values = answer_logps(policy, together, 1.0), value(together)
        for row, (prompt, answer) in enumerate(zip(long, answers, strict=True)):
            alone = Sequences.build([prompt], [answer], pad=0)
            real = slice(0, len(answer))
            torch.testing.assert_close(
                logps[row, real], answer_logps(policy, alone, 1.0)[0], atol=1e-12, rtol=0
            )
            torch.testing.assert_close(values[row, real], value(alone)[0], atol=1e-12, rtol=0)
