"""The policies that ship. To add one, write its file and name its settings in ``KINDS``.

Those in ``MIXED`` are made of other policies.
"""

from __future__ import annotations

from bon_gateway.backends.policy.embedded.settings import TransformersPolicySettings
from bon_gateway.backends.policy.variants.policy import VariantsSettings
from bon_gateway.backends.policy.vllm.policy import VllmPolicySettings
from bon_gateway.backends.settings import MixSettings, PolicySettings

KINDS: tuple[type[PolicySettings], ...] = (VllmPolicySettings, TransformersPolicySettings)
MIXED: tuple[type[MixSettings], ...] = (VariantsSettings,)
