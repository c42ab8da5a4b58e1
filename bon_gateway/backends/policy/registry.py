"""The policies that ship. To add one, write its file and name its settings in ``KINDS``."""

from __future__ import annotations

from bon_gateway.backends.policy.embedded.settings import TransformersPolicySettings
from bon_gateway.backends.policy.vllm.policy import VllmPolicySettings
from bon_gateway.backends.settings import PolicySettings

KINDS: tuple[type[PolicySettings], ...] = (VllmPolicySettings, TransformersPolicySettings)
