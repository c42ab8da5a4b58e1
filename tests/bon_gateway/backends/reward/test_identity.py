"""A reward has another identity as soon as something changes that decides its numbers."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from bon_gateway.backends.reward.identity import reward_identity, settings_identity
from bon_gateway.settings.tree import AnyReward

URL = "http://127.0.0.1:1"


def rewards(**sections: dict[str, Any]) -> dict[str, AnyReward]:
    return TypeAdapter(dict[str, AnyReward]).validate_python(sections)


def test_settings_and_those_of_members_count() -> None:
    judge = {"type": "judge", "urls": [URL]}
    joint = {"type": "ensemble", "members": [{"reward": "a"}]}
    found = rewards(a=judge, b=judge, joint=joint)
    other = rewards(a={**judge, "model": "m"}, b=judge, joint=joint)
    assert reward_identity("a", found) == reward_identity("a", found)
    assert reward_identity("a", found) != reward_identity("b", found)
    assert reward_identity("b", found) == reward_identity("b", other)
    assert reward_identity("a", found) != reward_identity("a", other)
    assert reward_identity("joint", found) != reward_identity("joint", other)


def test_the_content_of_a_template_counts(tmp_path: Path) -> None:
    template = tmp_path / "judge.jinja"
    template.write_text("one")
    found = rewards(a={"type": "judge", "urls": [URL], "prompt": str(template)})
    first = reward_identity("a", found)
    os.utime(template, (0, 0))
    assert reward_identity("a", found) == first
    template.write_text("two")
    assert reward_identity("a", found) != first


def test_our_own_template_counts() -> None:
    own = rewards(a={"type": "judge", "urls": [URL]})
    told = {"a": own["a"].model_dump(mode="json")}
    assert reward_identity("a", own) != settings_identity(told)


def test_the_files_of_a_local_model_count(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    weights = model / "model.safetensors"
    weights.write_bytes(b"1234")
    found = rewards(a={"type": "in_process", "model": str(model)})
    first = reward_identity("a", found)
    (model / ".cache").mkdir()
    (model / ".cache" / "lock").write_text("")
    assert reward_identity("a", found) == first
    weights.write_bytes(b"5678")
    os.utime(weights, ns=(5, 5))
    assert reward_identity("a", found) != first


def test_the_source_of_a_function_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "own_reward_source.py"
    source.write_text("def f(messages, completions): return [1.0]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import_module("own_reward_source")
    try:
        found = rewards(a={"type": "hook", "function": "own_reward_source:f"})
        first = reward_identity("a", found)
        source.write_text("def f(messages, completions): return [2.0]\n")
        assert reward_identity("a", found) != first
    finally:
        del sys.modules["own_reward_source"]


def test_a_certificate_does_not_count(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.write_text("one")
    found = rewards(a={"type": "judge", "urls": [URL], "ca_file": str(certificate)})
    first = reward_identity("a", found)
    certificate.write_text("two")
    assert reward_identity("a", found) == first


@pytest.mark.parametrize("text", ["x" * 10_000, "a\0b", ".", "no.such_module:f", ""])
def test_a_text_that_names_nothing_counts_as_it_is(text: str) -> None:
    assert settings_identity({"a": text}) == settings_identity({"a": text})
