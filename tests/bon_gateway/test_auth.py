from __future__ import annotations

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.auth import check_upstream_keys, load_keyring, upstream_key
from bon_gateway.sections.server import AuthSettings
from bon_gateway.settings.tree import Settings


def test_a_variable_that_is_named_must_be_set() -> None:
    with pytest.raises(SettingsError, match=r"auth\.keys_env: the environment variable"):
        load_keyring(AuthSettings(keys_env="MINE"), {})
    assert not load_keyring(AuthSettings(keys_env="MINE"), {"MINE": "a:k"}).open


def test_settings_as_they_are_shown_may_be_served_without_keys() -> None:
    shown = AuthSettings.model_validate(AuthSettings().model_dump())
    assert load_keyring(shown, {}).open
    assert not load_keyring(shown, {"BON_GATEWAY_API_KEYS": "a:k"}).open


UPSTREAM = {"type": "vllm", "urls": ["http://h:1"], "api_key_env": "UP"}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "policies.p.api_key_env: the environment variable UP is not set"),
        ({"UP": ""}, "environment UP: policies.p.api_key_env: is set but empty"),
        ({"UP": " \n"}, "environment UP: policies.p.api_key_env: is set but empty"),
        ({"UP": "secret\r\nx: y"}, "environment UP: policies.p.api_key_env: holds a character"),
        ({"UP": "secrèt"}, "environment UP: policies.p.api_key_env: holds a character"),
    ],
)
def test_an_upstream_key_that_cannot_be_sent_is_an_error(
    environ: dict[str, str], message: str
) -> None:
    tree = {
        "policies": {"p": UPSTREAM},
        "models": {"m": {"policy": "p", "strategy": {"type": "single"}}},
    }
    with pytest.raises(SettingsError) as caught:
        check_upstream_keys(Settings.model_validate(tree), environ)
    assert message in str(caught.value)
    assert "secr" not in str(caught.value)


def test_an_upstream_key_ends_before_its_line_break() -> None:
    assert upstream_key("UP", {"UP": "secret\n"}, "x") == "secret"
    assert upstream_key(None, {}, "x") is None
