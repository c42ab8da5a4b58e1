"""Verifiers in a settings file: what is refused, and where it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bon_common.settings.errors import SettingsError
from bon_gateway.auth import check_upstream_keys
from bon_gateway.reload.source import check
from bon_gateway.settings.loader import load
from bon_gateway.settings.tree import Settings

POLICIES = {"p": {"type": "vllm", "urls": ["http://x"]}}
SHORT = {"type": "length", "max": 2}


def tree(*verifiers: dict[str, Any], **served: Any) -> dict[str, Any]:
    model = {"policy": "p", "strategy": {"type": "majority"}, "verifier": [*verifiers], **served}
    return {"policies": POLICIES, "models": {"m": model}}


def loaded(folder: Path, settings: dict[str, Any], *overrides: tuple[str, str, object]) -> Settings:
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(settings))
    return load(file, {}, overrides)


def test_they_are_read(tmp_path: Path) -> None:
    settings = loaded(tmp_path, tree(SHORT, on_all_failed="error"))
    assert [*settings.verifiers] == ["models.m.verifier.0"]
    assert settings.models["m"].on_all_failed == "error"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (tree(SHORT, SHORT), "models.m: two verifiers are called 'length'"),
        (
            tree(SHORT, strategy={"type": "single"}),
            "models.m: verifier: strategy single verifies nothing",
        ),
        (
            tree(
                {
                    "type": "text_similarity",
                    "input": "{{ sample.output_text }}",
                    "reference": "x",
                    "evaluation_metric": "bleu",
                }
            ),
            "models.m: verifier.0.pass_threshold: say from which score an answer passes",
        ),
        (tree({"type": "python", "source": "x"}), "models.m.verifier.0: the gateway runs no code"),
        (tree({"type": "regex", "pattern": "("}), "models.m.verifier.0.pattern: '\\(' is not"),
        (tree({"type": "regex", "patern": "x"}), "models.m.verifier.0.patern"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=reason):
        loaded(tmp_path, settings)


def test_a_key_must_be_there(tmp_path: Path) -> None:
    hook = {"type": "http", "url": "http://x", "api_key_env": "HOOK_KEY"}
    settings = loaded(tmp_path, tree(hook))
    with pytest.raises(SettingsError, match=r"models\.m\.verifier\.0\.api_key_env"):
        check_upstream_keys(settings, {})
    check_upstream_keys(settings, {"HOOK_KEY": "secret"})


def test_what_a_verifier_lacks_is_found_before_serving(tmp_path: Path) -> None:
    settings = loaded(tmp_path, tree({"type": "json_schema", "json_schema": {"type": "nonsense"}}))
    with pytest.raises(SettingsError, match=r"models\.m\.verifier\.0\.json_schema"):
        check(settings, {})


CODE = {"type": "function", "function": "os:getcwd"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("models.m.verifier", [CODE]),
        ("rewards", {"r": {"type": "verifiers", "verifiers": [CODE]}}),
    ],
)
def test_only_the_file_may_name_code(key: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="only the settings file may name code to run"):
        loaded(tmp_path, tree(SHORT), ("--set", key, value))
    assert loaded(tmp_path, tree(CODE)).verifiers["models.m.verifier.0"].type == "function"
