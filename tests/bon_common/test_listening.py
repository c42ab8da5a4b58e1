from __future__ import annotations

import socket

import pytest

from bon_common.listening import bind, listening_host
from bon_common.settings.errors import SettingsError


@pytest.mark.parametrize(
    ("host", "open_access", "expected"),
    [
        (None, True, "127.0.0.1"),
        (None, False, "0.0.0.0"),
        ("10.0.0.1", True, "10.0.0.1"),
        ("127.0.0.1", False, "127.0.0.1"),
    ],
)
def test_without_keys_only_this_machine_may_call(
    host: str | None, open_access: bool, expected: str
) -> None:
    assert listening_host(host, open_access=open_access) == expected


def test_a_port_in_use_is_an_error_of_the_settings() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1 port {port}"):
            bind("127.0.0.1", port)


def test_a_host_that_does_not_exist_is_an_error_of_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"server\.host: no-such-host"):
        bind("no-such-host.invalid", 0, "server.")


def test_it_names_its_protocol_so_that_no_answer_waits_for_an_acknowledgement() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
