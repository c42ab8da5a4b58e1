"""Log-probabilities of whole answers under a policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainers.small import policy_path
from trainers.base.loading import load_tokenizer
from trainers.dpo.data import read_pairs
from trainers.policy.frozen import load_frozen, score_answers


def test_company_changes_no_log_probability(world: Path) -> None:
    model, tokenizer = load_frozen(policy_path()), load_tokenizer(policy_path())
    rows = read_pairs(world / "pairs.jsonl", tokenizer, "m", 512).rows
    prompts, answers = [r["prompt_ids"] for r in rows], [r["chosen_ids"] for r in rows]
    together = score_answers(model, prompts, answers, 24)
    alone = score_answers(model, prompts, answers, 1)
    assert together == pytest.approx(alone, abs=1e-4)
    assert len({round(value, 3) for value in alone}) > 20
