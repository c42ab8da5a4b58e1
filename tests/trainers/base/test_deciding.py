"""Which settings a resumed run may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainers.grpo.settings import GrpoSettings
from trainers.iterate.settings import IterateSettings
from trainers.ppo.settings import PpoSettings

ENDPOINT = {"type": "reward_server", "url": "http://one:1", "model": "m"}
ELSEWHERE = {
    "url": "http://two:2",
    "api_key_env": "KEY",
    "concurrency": 2,
    "timeout_s": 1,
    "retries": 1,
    "backoff_s": 2,
    "answers_per_request": 3,
}
KINDS: list[tuple[Any, dict[str, Any]]] = [
    (GrpoSettings, {"model": "m", "train": "t.jsonl", "output": "o"}),
    (PpoSettings, {"model": "m", "prompts": "p.jsonl", "output": "o"}),
    (IterateSettings, {"model": "m", "prompts": "p.jsonl", "output": "o"}),
]


def deciding(kind: Any, values: dict[str, Any], reward: dict[str, Any]) -> dict[str, Any]:
    if kind is PpoSettings:
        values = values | {"value": {"start": "policy"}}
    found: dict[str, Any] = kind.model_validate(values | {"reward": reward}).deciding()
    return found


@pytest.mark.parametrize(("kind", "values"), KINDS)
def test_a_reward_may_move_to_another_server(kind: Any, values: dict[str, Any]) -> None:
    before = deciding(kind, values, ENDPOINT)
    assert before["reward"] == {"type": "reward_server", "model": "m", "missing": None}
    for name, value in ELSEWHERE.items():
        assert deciding(kind, values, ENDPOINT | {name: value}) == before, name
    for name, value in {"model": "other", "missing": 0.5}.items():
        assert deciding(kind, values, ENDPOINT | {name: value}) != before, name


@pytest.mark.parametrize(("kind", "values"), KINDS)
def test_what_decides_is_json_without_what_is_free(kind: Any, values: dict[str, Any]) -> None:
    found = deciding(kind, values, ENDPOINT)
    assert set(found) == set(kind.model_fields) - kind.free
    assert "output" in kind.free
    assert not [one for one in found.values() if isinstance(one, Path)]


def test_an_engine_may_move_too() -> None:
    values = KINDS[1][1]
    generation = {"type": "vllm", "url": "http://one:1", "served_model": "m"}
    before = deciding(PpoSettings, values | {"generation": generation}, ENDPOINT)
    moved = generation | {"url": "http://two:2", "weights": "w", "concurrency": 1, "timeout_s": 1}
    assert deciding(PpoSettings, values | {"generation": moved}, ENDPOINT) == before
    other = generation | {"served_model": "n"}
    assert deciding(PpoSettings, values | {"generation": other}, ENDPOINT) != before
