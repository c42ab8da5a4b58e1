"""Whatever is wrong in a settings file, the error names its key and a reason."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bon_common.settings.errors import SettingsError
from bon_gateway.settings import loader

GRADER = {
    "type": "score_model",
    "url": "http://grader",
    "model": "g",
    "pass_threshold": 0.5,
    "sampling_params": {"temperature": 0},
    "input": [
        {"role": "system", "content": "Grade."},
        {"role": "user", "content": {"type": "input_text", "text": "{{ sample.output_text }}"}},
        {"role": "user", "content": [{"type": "input_text", "text": "{{ item.reference }}"}]},
    ],
}
SETTINGS = {
    "server": {"port": 8080},
    "policies": {
        "p": {"type": "vllm", "urls": ["http://p"]},
        "v": {"type": "variants", "of": [{"policy": "p", "name": "a"}]},
    },
    "rewards": {
        "judge": {
            "type": "judge",
            "urls": ["http://j"],
            "model": "j",
            "method": {"type": "pointwise", "criteria": [{"text": "Good?", "weight": 2}]},
        },
        "checks": {
            "type": "verifiers",
            "verifiers": [copy.deepcopy(GRADER)],
            "weights": {"score_model": 2},
        },
        "both": {
            "type": "ensemble",
            "members": [{"reward": "judge"}, {"reward": "checks", "mean": 0, "std": 1}],
        },
    },
    "models": {
        "m": {
            "policy": "p",
            "reward": "both",
            "strategy": {"type": "majority", "n": 4, "extract": {"type": "boxed"}},
            "verifier": [
                {"type": "json_schema", "json_schema": {"type": "object"}},
                {"type": "numeric", "extract": {"type": "last_number"}},
                {
                    "type": "multi",
                    "graders": {"a": GRADER},
                    "calculate_output": "a",
                    "pass_threshold": 0.5,
                },
            ],
        }
    },
}
JUNK: tuple[Any, ...] = (
    *(None, 5, -1, 0.5, float("nan"), True, "", "x", "{{ foo }}", "http://u:pw@h", [], {}, ["a"]),
    *([5], {"a": 1}, {"type": "nonsense"}, {"type": "boxed"}, [{"type": "input_text"}], [[]]),
    *({"type": "input_image", "image_url": "x"}, {"type": ["boxed"]}),
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, below in inner:
        yield (*path, key)
        if isinstance(below, dict | list):
            yield from places(below, (*path, key))


def spoilt(path: tuple[Any, ...], junk: Any, how: str) -> dict[str, Any]:
    tree: dict[str, Any] = copy.deepcopy(SETTINGS)
    at: Any = tree
    for key in path[:-1]:
        at = at[key]
    if how == "more" and isinstance(at, dict):
        at["more"] = junk
    elif how == "less" and isinstance(at, dict):
        del at[path[-1]]
    elif how == "list":
        at[path[-1]] = [junk, at[path[-1]]]
    else:
        at[path[-1]] = junk
    return tree


def test_every_mistake_is_told(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(SETTINGS))
    loader.load(file, {}, [])
    chance = random.Random(19)
    found = [*places(SETTINGS)]
    told = []
    for _ in range(150):
        path, junk = chance.choice(found), chance.choice(JUNK)
        how = chance.choice(("other", "other", "more", "less", "list"))
        file.write_text(yaml.safe_dump(spoilt(path, junk, how)))
        try:
            loader.load(file, {}, [])
        except SettingsError as error:
            told.append((str(error), error.reason))
    assert len(told) > 100
    for whole, reason in told:
        assert reason, whole
        assert "function-" not in whole, whole  # pydantic's name of a member of a union
        assert "u:pw" not in whole, whole
