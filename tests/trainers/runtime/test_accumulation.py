from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bon_gateway import demo_models
from tests.trainers.runtime.conftest import MakeSettings
from tests.trainers.runtime.helpers import START, largest_difference, logs
from trainers.sft.run import IGNORED, prepare_sft, train_sft

STEPS = 8
GOLDEN = [
    (0.799593, 0.59882),
    (1.056274, 0.73968),
    (1.081603, 0.84773),
    (0.766479, 1.01321),
    (0.973734, 0.78785),
    (0.986599, 0.75808),
    (0.881819, 0.58882),
    (0.882849, 0.67538),
]
"""Loss and gradient norm of the demo policy on the 24 conversations of the fixture,
as they were when this was written."""


def test_golden_trajectory_in_one_pass_and_in_eight(settings: MakeSettings) -> None:
    """Records differ in length, so a mean of the passes' means would not do."""
    how = {"model": demo_models.policy_path(), "batch_size": 8, "max_steps": STEPS}
    whole = settings("whole", **how)
    parts = settings("parts", **how, accumulate=8)
    for run in (whole, parts):
        train_sft(run, START)
    for one, (loss, norm) in zip(logs(whole.output), GOLDEN, strict=True):
        assert one["loss"] == pytest.approx(loss, rel=1e-3)
        assert one["grad_norm"] == pytest.approx(norm, rel=1e-2)
    for one, other in zip(logs(whole.output), logs(parts.output), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)
    assert len(logs(parts.output)) == STEPS
    assert largest_difference(whole.output, parts.output) < 1e-4


def test_the_first_loss_is_the_mean_over_all_learnt_tokens(settings: MakeSettings) -> None:
    run = settings(batch_size=24, max_steps=1, accumulate=3)
    train_sft(run, START)
    tokenizer = AutoTokenizer.from_pretrained(run.model)
    model = AutoModelForCausalLM.from_pretrained(run.model)
    total, count = 0.0, 0
    for row in prepare_sft(run, tokenizer).rows:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"])
        with torch.no_grad():
            logps = model(ids).logits[0, :-1].log_softmax(-1)
        for position, label in enumerate(labels[1:].tolist()):
            if label != IGNORED:
                total -= float(logps[position, label])
                count += 1
    assert logs(run.output)[0]["loss"] == pytest.approx(total / count, rel=1e-5)
