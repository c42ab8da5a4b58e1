"""Comparisons in a temporary folder, run in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bon_gateway.compare.ask.progress import Progress
from bon_gateway.compare.ask.run import Measured, Run
from bon_gateway.compare.figures.analysis import analyse
from bon_gateway.compare.figures.results import Results
from bon_gateway.compare.prompts import read_prompts
from bon_gateway.compare.settings import CompareSettings

GOLD = {"hook": {"function": "tests.bon_gateway.compare.endpoints:gold"}}
BY_GOLD = {"scorers": {"gold": GOLD}, "primary": "gold"}


def settings_of(
    folder: Path, arms: Mapping[str, Any], *, prompts: int = 10, **more: Any
) -> CompareSettings:
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"prompt {i}"}) + "\n" for i in range(prompts)))
    tree = {
        "arms": arms,
        "prompts": {"file": str(file)},
        "output": str(folder / "out"),
        "load": {"warm_up": 0, "concurrency": 2},
        "resamples": 300,
        **more,
    }
    return CompareSettings.model_validate(tree)


async def measure(
    settings: CompareSettings,
    stop: asyncio.Event | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Measured:
    settings.output.mkdir(parents=True, exist_ok=True)
    prompts = read_prompts(settings.prompts, settings.seed)
    run = Run(settings, prompts, stop or asyncio.Event(), environ=environ or {}, progress=progress)
    return await run.measure()


async def compare(settings: CompareSettings) -> Results:
    return analyse(settings, await measure(settings), len(read_prompts(settings.prompts, 0)))
