"""What stands beside a prompt for those who check its answers, such as the expected answer.

It travels with the prompt and goes to rewards behind HTTP. It is no part of the prompt: a chat
template never sees it, and a prompt with other metadata is the same prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainers.base.strict_json import unstorable

METADATA = "metadata"
"""The field of a record that holds it."""


def read_metadata(value: object) -> dict[str, Any]:
    """An object as it is; empty for anything else, also for an object that JSON cannot hold.

    Published data sets have texts, lists and numbers under this name, so that nothing is refused.
    """
    return dict(value) if isinstance(value, Mapping) and unstorable(value) is None else {}
