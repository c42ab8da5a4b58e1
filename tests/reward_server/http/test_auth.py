from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from reward_server.errors import UnauthorizedError
from reward_server.http.auth import Keys
from reward_server.settings import Settings
from reward_server.settings_sources import SettingsError

KEYS = Keys(Settings(model="x", api_keys={"ann": SecretStr("one"), "bob": SecretStr("zwölf")}))


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
    nobody = Keys(Settings(model="x"))
    assert nobody.caller_of(None) is None
    assert nobody.caller_of("Bearer x") is None


@pytest.mark.parametrize("text", ["", "\n", "# ann: later\n", "ann: secret"])
def test_a_keys_file_without_a_key_is_no_open_door(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        Keys(Settings(model="x", api_keys_file=str(path)))
    assert str(caught.value).startswith(f"{path}: ")
    assert "secret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="api_keys_file: cannot be read: No such file"):
        Keys(Settings(model="x", api_keys_file=str(tmp_path / "nothing")))


def test_a_key_of_both_file_and_environment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(line("ann", "one"))
    for both in ({"ann": SecretStr("two")}, {"bob": SecretStr("one")}):
        with pytest.raises(SettingsError, match="environment: api_keys"):
            Keys(Settings(model="x", api_keys_file=str(path), api_keys=both))


def test_a_file_that_changed_is_taken_over_and_one_that_is_no_good_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    path.write_text(line("ann", "one"))
    keys = Keys(Settings(model="x", api_keys_file=str(path)))
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
