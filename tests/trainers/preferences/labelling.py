"""Short ways to run `bon-train label`, and a fake judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bon_gateway.testing.script import Call, Step
from tests.trainers.preferences.helpers import (
    bot,
    read_lines,
    user,
    write_lines,
)
from trainers.cli import main


def label(folder: Path, labeller: dict[str, Any], *flags: str, **settings: Any) -> int:
    return main(["label", "--config", str(configured(folder, labeller, **settings)), *flags])


def configured(folder: Path, labeller: dict[str, Any], **settings: Any) -> Path:
    values: dict[str, Any] = {
        "input": str(folder / "answers.jsonl"),
        "output": str(folder / "out.jsonl"),
        "labeller": labeller,
    }
    path = folder / "label.yaml"
    path.write_text(yaml.safe_dump(values | settings), encoding="utf-8")
    return path


def answers(folder: Path, *records: list[str], **fields: Any) -> Path:
    lines = [
        {
            "prompt": [user(f"question {n}")],
            "candidates": [{"answer": [bot(text)], "policy": "p"} for text in texts],
            **fields,
        }
        for n, texts in enumerate(records)
    ]
    return write_lines(folder / "answers.jsonl", *lines)


def texts_of(path: Path) -> list[tuple[str, str]]:
    return [
        (line["chosen"][0]["content"], line["rejected"][0]["content"]) for line in read_lines(path)
    ]


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out.report.json").read_text())
    return found


def judge(url: str, **settings: Any) -> dict[str, Any]:
    endpoint = {"url": f"{url}/v1", "model": "fake", "backoff_s": 0.001, "retries": 0}
    template = "{conversation}|{a}|{b}"
    return {"type": "judge", "endpoint": endpoint, "prompt": template} | settings


def judging(verdict: Callable[[str, str], str]) -> Callable[[Call], Step]:
    """A judge who sees the two texts in the order shown."""

    def script(call: Call) -> Step:
        _, a, b = call.body["messages"][0]["content"].split("|")
        return Step(text=verdict(a, b))

    return script


def longest(a: str, b: str) -> str:
    return f"Well. [[{'A' if len(a) > len(b) else 'B' if len(b) > len(a) else 'tie'}]]"
