"""The reward models that ship. To add one, write its file and name its settings in ``KINDS``.
``COMPOSED`` are the rewards that are made of others."""

from __future__ import annotations

from bon_gateway.backends.reward.ensemble.settings import RewardEnsembleSettings
from bon_gateway.backends.reward.hook import HookRewardSettings
from bon_gateway.backends.reward.in_process_settings import InProcessRewardSettings
from bon_gateway.backends.reward.judge.settings import JudgeSettings
from bon_gateway.backends.reward.reward_server import RewardServerSettings
from bon_gateway.backends.reward.vllm_classify import VllmClassifySettings
from bon_gateway.backends.reward.vllm_pooling import VllmPoolingSettings
from bon_gateway.backends.settings import ComposedRewardSettings, RewardSettings

KINDS: tuple[type[RewardSettings], ...] = (
    RewardServerSettings,
    VllmClassifySettings,
    VllmPoolingSettings,
    InProcessRewardSettings,
    HookRewardSettings,
    JudgeSettings,
)
COMPOSED: tuple[type[ComposedRewardSettings], ...] = (RewardEnsembleSettings,)
