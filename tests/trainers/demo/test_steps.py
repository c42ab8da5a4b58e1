"""How the steps multiply, which differs between CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers.base.context import RunContext
from trainers.demo import steps
from trainers.sft.settings import SftSettings


@pytest.mark.parametrize(
    ("capabilities", "precision", "fused"),
    [
        ({"avx512_bf16": True}, "medium", False),
        ({"amx_bf16": True, "avx512_bf16": False}, "medium", False),
        ({"avx512_bf16": False, "amx_bf16": False}, "highest", True),
        ({}, "highest", True),
    ],
)
def test_products_are_in_bfloat16_only_where_the_cpu_has_them(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capabilities: dict[str, bool],
    precision: str,
    fused: bool,
) -> None:
    seen = []

    def train(settings: SftSettings, context: RunContext) -> dict[str, float]:
        fused_now = torch.backends.cuda.flash_sdp_enabled()
        seen.append((torch.get_float32_matmul_precision(), fused_now))
        return {}

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setitem(steps.TRAINERS, SftSettings, train)
    threads = torch.get_num_threads()
    try:
        steps.train(SftSettings(model="m", train=tmp_path / "t", output=tmp_path / "o"))
    finally:
        torch.set_num_threads(threads)
    assert seen == [(precision, fused)]
    assert torch.get_float32_matmul_precision() == "highest"
