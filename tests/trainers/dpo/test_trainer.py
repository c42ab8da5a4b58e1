"""TRL's loss path, fed through our subclass, against the formulas."""

from __future__ import annotations

import inspect
import json
import math
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from trl.trainer.dpo_trainer import DPOTrainer

from tests.trainers.dpo.conftest import MakeSettings
from trainers.base.loading import load_tokenizer
from trainers.dpo.data import read_pairs
from trainers.dpo.reference import ReferenceLogps, reference_logps
from trainers.dpo.run import dpo_trainer
from trainers.dpo.settings import LOSSES, DpoSettings
from trainers.dpo.trainer import TokenisedDPOTrainer, loss_arguments, make_dataset
from trainers.policy.frozen import load_frozen


def trainer(settings: DpoSettings) -> TokenisedDPOTrainer:
    tokenizer = load_tokenizer(settings.model)
    data = read_pairs(settings.train, tokenizer, settings.model, settings.max_length)
    known = reference_logps(load_frozen(settings.model), data.rows, 8)
    policy = AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32)
    return dpo_trainer(settings, policy, make_dataset(data.rows, known), tokenizer)


def rows_of(subject: TokenisedDPOTrainer) -> Any:
    return subject.train_dataset


def loss_of(
    subject: TokenisedDPOTrainer, policy: list[tuple[float, float]], known: ReferenceLogps
) -> float:
    """TRL's loss of pairs whose log-probabilities (chosen, rejected) are given: each answer is
    one token, after one token of prompt."""
    logps = torch.tensor([p[0] for p in policy] + [p[1] for p in policy]).unsqueeze(1)
    ones = torch.ones(len(logps), 2, dtype=torch.long)

    def model(**inputs: Any) -> Any:
        zeros = torch.zeros_like(logps)
        return SimpleNamespace(
            log_probs=logps, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
        )

    inputs = {
        "input_ids": ones,
        "attention_mask": ones,
        "completion_mask": torch.tensor([[0, 1]] * len(logps)),
        "ref_chosen_logps": torch.tensor(known.chosen),
        "ref_rejected_logps": torch.tensor(known.rejected),
    }
    return float(subject._compute_loss(model, inputs, False))


def test_the_loss_of_a_known_pair(settings: MakeSettings) -> None:
    subject = trainer(settings(beta=0.1))
    loss = loss_of(subject, [(-10.0, -12.0)], ReferenceLogps([-11.0], [-11.0]))
    assert loss == pytest.approx(0.598139, abs=1e-6)


def test_it_is_bradley_terry_on_the_scaled_log_ratios(settings: MakeSettings) -> None:
    torch.manual_seed(0)
    policy, known = (-20 * torch.rand(6, 2), -20 * torch.rand(6, 2))
    loss = loss_of(
        trainer(settings(beta=0.3)),
        [(float(c), float(r)) for c, r in policy],
        ReferenceLogps(known[:, 0].tolist(), known[:, 1].tolist()),
    )
    rewards = 0.3 * (policy - known)
    bradley_terry = -torch.nn.functional.logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()
    assert loss == pytest.approx(float(bradley_terry), rel=1e-6)


def test_the_first_loss_is_ln_2(settings: MakeSettings) -> None:
    subject = trainer(settings())
    batch = next(iter(subject.get_train_dataloader()))
    with torch.no_grad():
        loss = float(subject._compute_loss(subject.model, batch, False))
    assert loss == pytest.approx(math.log(2), abs=1e-6)


def test_the_learnt_tokens_are_the_answer_and_its_end(settings: MakeSettings) -> None:
    subject = trainer(settings())
    tokenizer = load_tokenizer(settings().model)
    batch = subject.data_collator([rows_of(subject)[i] for i in range(4)])
    learnt = [
        tokenizer.decode(ids[mask.bool()])
        for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    ]
    records = [json.loads(line) for line in settings().train.read_text().splitlines()[:4]]
    texts = [r["chosen"][0]["content"] for r in records]
    texts += [r["rejected"][0]["content"] for r in records]
    assert learnt == [f"{text}<eos>" for text in texts]


def test_adapters_off_are_the_frozen_base(settings: MakeSettings) -> None:
    run = settings(lora={"r": 4}, reference_logps="live", max_steps=3)
    subject = trainer(run)
    subject.train()
    base = AutoModelForCausalLM.from_pretrained(run.model, dtype=torch.float32).eval()
    ids = torch.arange(5, 25).unsqueeze(0)
    policy: Any = subject.model
    policy.eval()
    with torch.no_grad():
        frozen = base(ids).logits
        assert not torch.equal(policy(ids).logits, frozen)
        with policy.disable_adapter():
            assert torch.equal(policy(ids).logits, frozen)


def test_our_log_probabilities_are_trls(settings: MakeSettings) -> None:
    subject = trainer(settings())
    batch = subject.data_collator(list(rows_of(subject)))
    chosen, rejected = subject.compute_ref_log_probs(subject.model, batch)
    assert chosen.tolist() == pytest.approx(rows_of(subject)["ref_chosen_logps"], rel=1e-5)
    assert rejected.tolist() == pytest.approx(rows_of(subject)["ref_rejected_logps"], rel=1e-5)


def test_the_names_of_the_losses_are_trls() -> None:
    known = re.findall(r'loss_type == "(\w+)"', inspect.getsource(DPOTrainer._compute_loss))
    assert sorted(known) == sorted(LOSSES)


def test_the_sft_term_is_a_second_loss(settings: MakeSettings) -> None:
    arguments = loss_arguments(settings(loss="ipo", sft_weight=0.25))
    assert (arguments["loss_type"], arguments["loss_weights"]) == (["ipo", "sft"], [1.0, 0.25])
