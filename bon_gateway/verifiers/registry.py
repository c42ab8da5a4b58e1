"""The verifiers that ship. To add one, write its file and name its settings in ``KINDS``.
``REWARDS`` lists the rewards that use them."""

from __future__ import annotations

from bon_gateway.backends.settings import RewardSettings
from bon_gateway.verifiers.kinds import KINDS, AnyVerifier
from bon_gateway.verifiers.reward import VerifiersRewardSettings

REWARDS: tuple[type[RewardSettings], ...] = (VerifiersRewardSettings,)

__all__ = ["KINDS", "REWARDS", "AnyVerifier"]
