"""The policies that ship. To add one, write its file and name its settings in ``KINDS``.

``COMPOSED`` lists the policies that use others.
"""

from __future__ import annotations

from bon_gateway.backends.policy.embedded.settings import TransformersPolicySettings
from bon_gateway.backends.policy.variants.policy import VariantsSettings
from bon_gateway.backends.policy.vllm.policy import VllmPolicySettings
from bon_gateway.backends.settings import ComposedPolicySettings, PolicySettings

KINDS: tuple[type[PolicySettings], ...] = (VllmPolicySettings, TransformersPolicySettings)
COMPOSED: tuple[type[ComposedPolicySettings], ...] = (VariantsSettings,)
