"""Log-probs of answers, by the plain way."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from trainers.policy.frozen import load_frozen
from trainers.policy.logits import answer_logps
from trainers.policy.sequences import Sequences


def test_they_are_the_cross_entropy_of_the_whole_sequence(tiny: Path) -> None:
    policy = load_frozen(tiny / "policy")
    prompt, answer = [5, 6, 7, 8], [30, 31, 32]
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        logits = policy(ids).logits[0, :-1] / 0.7
        expected = -F.cross_entropy(logits, ids[0, 1:], reduction="none")[-3:]
        found = answer_logps(policy, Sequences.build([prompt], [answer], pad=0), 0.7)
    torch.testing.assert_close(found[0], expected)
