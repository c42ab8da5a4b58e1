from __future__ import annotations

from collections.abc import Sequence

import pytest

from bon_gateway.backends.reward.length_calibrated import LengthCalibratedReward
from bon_gateway.backends.settings import LengthCalibrationSettings
from bon_gateway.errors import RewardError, RewardRefusedError
from bon_gateway.testing.fakes import FakeReward
from bon_gateway.types import Message, RewardRequest, Scores


def calibrated(fake: FakeReward, slope: float, reference: int = 0) -> LengthCalibratedReward:
    settings = LengthCalibrationSettings(slope=slope, reference=reference)
    return LengthCalibratedReward(fake, settings)


async def test_the_slope_is_subtracted_for_each_character() -> None:
    fake = FakeReward(rule=lambda message: 5.0)
    answers = [{"role": "assistant", "content": text} for text in ("ab", "é" * 12, None, "")]
    backend = calibrated(fake, 0.5)
    scores = await backend.score(RewardRequest([]), answers)
    assert scores.rewards == pytest.approx((4.0, -1.0, 5.0, 5.0), abs=1e-9)
    assert scores.tokens == 40
    scores = await calibrated(fake, -0.5, reference=10).score(RewardRequest([]), answers[:2])
    assert scores.rewards == pytest.approx((1.0, 6.0), abs=1e-9)


async def test_what_was_refused_stays_so() -> None:
    refusal = RewardRefusedError("too long")

    class Refusing(FakeReward):
        async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
            return Scores((None, 2.0), 7, refusal)

    answers = [{"role": "assistant", "content": "ab"}] * 2
    scores = await calibrated(Refusing(), 0.5).score(RewardRequest([]), answers)
    assert scores == Scores((None, 1.0), 7, refusal)
    with pytest.raises(RewardError):
        await calibrated(FakeReward(failures=1), 0.5).score(RewardRequest([]), answers)
