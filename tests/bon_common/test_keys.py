from __future__ import annotations

from pathlib import Path

import pytest

from bon_common import keys
from bon_common.keys import KeyRing, digest
from bon_common.settings.errors import SettingsError

ENV = "BON_GATEWAY_API_KEYS"


def load_keyring(file: Path | None, environ: dict[str, str]) -> KeyRing:
    return keys.load_keyring(None if file is None else str(file), "auth.keys_file", ENV, environ)


def from_file(path: Path, text: str) -> KeyRing:
    path.write_text(text)
    return load_keyring(path, {})


def line(name: str, key: str) -> str:
    return f"{name}: sha256:{digest(key).hex()}"


def test_without_keys_it_is_open() -> None:
    assert load_keyring(None, {}).open
    assert not load_keyring(None, {ENV: "a:k"}).open


def test_file_and_environment_come_together(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    lines = ["# who may call", "", f"{line('alice', 'k1')}  # her laptop", f"bob:sha256:{'A' * 64}"]
    path.write_text("\n".join(lines))
    ring = load_keyring(path, {ENV: "carol:k:3, dave:k4"})
    assert ring.owner("Bearer k1") == "alice"
    assert ring.owner("bearer  k:3") == "carol"
    assert ring.owner("Bearer k4") == "dave"


@pytest.mark.parametrize(
    "header",
    [None, "", "k1", "Bearer", "Bearer ", "Bearer k2", "Basic k1", "Bearer k1x", "Bearer ☃"],
)
def test_others_have_no_owner(header: str | None) -> None:
    assert KeyRing({"alice": digest("k1")}).owner(header) is None


def test_a_key_that_is_not_ascii_is_compared_as_its_bytes() -> None:
    ring = KeyRing({"alice": digest("schlüssel")})
    on_the_wire = "Bearer schlüssel".encode().decode("latin-1")
    assert ring.owner(on_the_wire) == "alice"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("alice", "line 1"),
        (f"\n{'0' * 64}", "line 2"),
        ("alice: secret-key", "line 1"),
        (f"alice: sha256:{'0' * 63}", "line 1"),
        (f"al ice: sha256:{'0' * 64}", "line 1"),
        (f"-alice: sha256:{'0' * 64}", "line 1"),
        (f"{line('a', 'k')}\n{line('a', 'l')}", "line 2"),
        (f"{line('a', 'k')}\n{line('b', 'k')}", "line 2"),
    ],
)
def test_a_bad_line_is_named_and_not_shown(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "keys"
    with pytest.raises(SettingsError) as caught:
        from_file(path, text)
    assert caught.value.source == str(path)
    assert caught.value.key == where
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing: auth\.keys_file: cannot be read: No such"):
        load_keyring(tmp_path / "nothing", {})


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_keyring(path, {})


@pytest.mark.parametrize(
    "text", ["secret", "a:", ":secret", "a:secret,", "a:x,a:secret", "a:secret,b:secret"]
)
def test_a_bad_pair_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_keyring(None, {ENV: text})
    assert caught.value.source == f"environment {ENV}"
    assert "secret" not in str(caught.value)


def test_a_name_twice_in_file_and_environment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(line("alice", "k1"))
    with pytest.raises(SettingsError, match="'alice' is there twice"):
        load_keyring(path, {ENV: "alice:k2"})


def test_its_repr_tells_names_only() -> None:
    assert repr(KeyRing({"alice": digest("k1")})) == "KeyRing(['alice'])"


@pytest.mark.parametrize("text", ["", "\n", "# alice: later\n", "  \n\t\n#\n"])
def test_a_keys_file_without_a_key_is_no_open_door(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"auth\.keys_file: holds no key"):
        from_file(tmp_path / "keys", text)


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_a_variable_without_a_key_is_no_open_door(text: str) -> None:
    with pytest.raises(SettingsError, match=f"environment {ENV}: is set but holds no key"):
        load_keyring(None, {ENV: text})


def test_pairs_on_lines_are_not_one_key_and_a_last_line_break_is_no_part_of_one() -> None:
    assert load_keyring(None, {ENV: "a:k\n"}).owner("Bearer k") == "a"
    with pytest.raises(SettingsError, match="pair 1: the key holds a line break") as caught:
        load_keyring(None, {ENV: "a:secret\nb:secret2"})
    assert "secret" not in str(caught.value)
