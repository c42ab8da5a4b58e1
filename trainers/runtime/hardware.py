"""What the processor is good at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def multiplies_bfloat16() -> bool:
    """Whether this CPU has products of bfloat16 matrices. Others take them apart, which is slower
    than float32."""
    # Older versions of torch cannot tell; float32 is right on every CPU.
    tell: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    able = tell()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
