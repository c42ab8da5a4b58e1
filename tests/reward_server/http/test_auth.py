from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from bon_common.settings.errors import SettingsError
from reward_server.errors import UnauthorizedError
from reward_server.http.auth import Keys

VARIABLE = "REWARD_SERVER_API_KEYS"
KEYS = Keys(None, {VARIABLE: "ann:one,bob:zwölf"})


def line(name: str, key: str) -> str:
    return f"{name}: sha256:{hashlib.sha256(key.encode()).hexdigest()}\n"


@pytest.mark.parametrize(
    ("header", "caller"),
    [
        ("Bearer one", "ann"),
        ("bearer  one ", "ann"),
        ("Bearer zwölf".encode().decode("latin-1"), "bob"),
    ],
)
def test_a_key_names_its_caller(header: str, caller: str) -> None:
    assert KEYS.caller_of(header) == caller


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer on", "Bearer onee", "Token one"])
def test_anything_else_is_refused(header: str | None) -> None:
    with pytest.raises(UnauthorizedError):
        KEYS.caller_of(header)


def test_without_keys_everyone_is_let_in() -> None:
    nobody = Keys(None, {})
    assert nobody.caller_of(None) is None
    assert nobody.caller_of("Bearer x") is None


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="api_keys_file: cannot be read: No such file"):
        Keys(str(tmp_path / "nothing"), {})


@pytest.mark.parametrize("pair", ["ann:two", "bob:one"])
def test_a_key_of_both_file_and_environment_is_refused(tmp_path: Path, pair: str) -> None:
    path = tmp_path / "keys"
    path.write_text(line("ann", "one"))
    with pytest.raises(SettingsError, match=f"environment {VARIABLE}: pair 1: "):
        Keys(str(path), {VARIABLE: pair})


def test_a_file_that_changed_is_taken_over_and_one_that_is_no_good_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    path.write_text(line("ann", "one"))
    keys = Keys(str(path), {})
    path.write_text(line("bob", "two"))
    keys.reload()
    assert keys.caller_of("Bearer two") == "bob"
    with pytest.raises(UnauthorizedError):
        keys.caller_of("Bearer one")
    path.write_text("")
    with caplog.at_level(logging.ERROR):
        keys.reload()
    assert keys.caller_of("Bearer two") == "bob"
    assert "holds no key" in caplog.text
