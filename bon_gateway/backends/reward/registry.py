"""The reward models that ship. To add one, write its file and name its settings in ``KINDS``."""

from __future__ import annotations

from bon_gateway.backends.reward.hook import HookRewardSettings
from bon_gateway.backends.reward.in_process_settings import InProcessRewardSettings
from bon_gateway.backends.reward.reward_server import RewardServerSettings
from bon_gateway.backends.reward.vllm_classify import VllmClassifySettings
from bon_gateway.backends.settings import RewardSettings

KINDS: tuple[type[RewardSettings], ...] = (
    RewardServerSettings,
    VllmClassifySettings,
    InProcessRewardSettings,
    HookRewardSettings,
)
