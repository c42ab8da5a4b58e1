"""The comparison of an engine's log-probs with the policy's own."""

from __future__ import annotations

import math

import pytest
import torch

from trainers.ppo.mismatch import EngineAnswer, evenly_spread, mean_difference
from trainers.ppo.policy import load_policy
from trainers.ppo.settings import PpoSettings

PROMPT = [30, 31, 32]
ANSWER = [40, 41]


def test_log_probs_are_compared_token_by_token_at_temperature_1(settings: PpoSettings) -> None:
    policy = load_policy(settings, torch.device("cpu"))
    with torch.no_grad():
        logits = policy(torch.tensor([PROMPT + ANSWER])).logits[0]
    own = [float(logits[i].log_softmax(-1)[ANSWER[i - 2]]) for i in (2, 3)]
    assert mean_difference(policy, [EngineAnswer(PROMPT, ANSWER, own)]) < 1e-5
    off = EngineAnswer(PROMPT, ANSWER, [own[0] + 0.5, own[1] - 0.1])
    assert mean_difference(policy, [off]) == pytest.approx(0.3, abs=1e-5)


def test_the_mean_is_over_tokens_not_answers(settings: PpoSettings) -> None:
    policy = load_policy(settings, torch.device("cpu"))
    one = EngineAnswer(PROMPT, [40], [0.0])
    two = EngineAnswer(PROMPT, [40, 41], [0.0, 0.0])
    alone, both = (mean_difference(policy, [answer]) for answer in (one, two))
    together = mean_difference(policy, [one, two])
    assert together == pytest.approx((alone + 2 * both) / 3, abs=1e-6)


def test_what_is_not_a_number_stays_none(settings: PpoSettings) -> None:
    policy = load_policy(settings, torch.device("cpu"))
    assert math.isnan(mean_difference(policy, [EngineAnswer(PROMPT, [40], [math.nan])]))


@pytest.mark.parametrize(
    ("answers", "wanted", "places"),
    [(1, 8, [0]), (3, 8, [0, 1, 2]), (8, 2, [0, 4]), (10, 4, [0, 2, 4, 6]), (7, 3, [0, 2, 4])],
)
def test_places_are_evenly_spread(answers: int, wanted: int, places: list[int]) -> None:
    assert list(evenly_spread(answers, wanted)) == places
