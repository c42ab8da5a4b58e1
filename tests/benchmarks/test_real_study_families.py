"""The families of the study's tasks."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

from benchmarks.real_study.families import FAMILIES, POOLS, split
from trainers.tasks.registry import TASKS


def test_every_task_is_in_one_family() -> None:
    listed = Counter(task for tasks in FAMILIES.values() for task in tasks)
    assert listed == Counter(task.name for task in TASKS)


def test_each_prompt_is_in_its_family_and_in_all(tmp_path: Path) -> None:
    path = POOLS / "sft-greedy.jsonl.gz"
    files = split(path, tmp_path)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        whole = file.readlines()
    assert files["all"].read_text(encoding="utf-8") == "".join(whole)
    found = 0
    for family, tasks in FAMILIES.items():
        lines = files[family].read_text(encoding="utf-8").splitlines()
        assert {json.loads(line)["task"] for line in lines} <= set(tasks)
        found += len(lines)
    assert found == len(whole)
