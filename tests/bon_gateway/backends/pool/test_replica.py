"""What a replica's calls and health checks make of its state, without any upstream."""

from __future__ import annotations

import socket

import pytest

from bon_gateway.backends.http.client import HttpClient
from bon_gateway.backends.http.faults import Fault, UpstreamError, status_error
from bon_gateway.backends.http.names import Address
from bon_gateway.backends.pool.replica import Lease, Replica
from bon_gateway.types import UpstreamState

FAILED = UpstreamError(Fault.FAILED, "it failed")
CUT = UpstreamError(Fault.CUT, "it was cut off")
OVERLOADED = UpstreamError(Fault.OVERLOADED, "it is busy", status=503)
REFUSED = UpstreamError(Fault.REFUSED, "a bad request", status=400)
DEAD = UpstreamError(Fault.UNREACHABLE, "nobody listens", dead=True)


def replica(url: str = "http://host:8000", address: Address | None = None) -> Replica:
    client = HttpClient(api_key=None, connect_timeout_s=1, timeout_s=1)
    return Replica(
        url,
        client,
        call_path="/v1/chat/completions",
        health_path="/health",
        failures_to_eject=3,
        address=address,
    )


def up() -> Replica:
    one = replica()
    one.come_up()
    return one


def call(one: Replica, error: UpstreamError | None = None, request_id: str | None = None) -> None:
    with Lease(one, 1, request_id) as lease:
        lease.done(error)


@pytest.mark.parametrize(
    "url", ["http://u:pw@host:8000/a/v1/", "http://u:pw@host:8000/a/v1", "http://host:8000/a"]
)
def test_a_url_may_end_in_v1_or_a_slash_or_hold_a_password(url: str) -> None:
    one = replica(url)
    assert one.name == "host:8000/a"
    assert one.call.path == "/a/v1/chat/completions"
    assert one.health.path == "/a/health"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (Address(socket.AF_INET, "10.0.0.7"), "10.0.0.7:8000/a"),
        (Address(socket.AF_INET6, "fd00::7"), "[fd00::7]:8000/a"),
    ],
)
def test_one_of_several_is_named_by_its_address_and_asked_by_its_host(
    address: Address, name: str
) -> None:
    one = replica("http://u:pw@host:8000/a", address)
    assert one.name == name
    assert one.call.host == one.health.host == "host"


def test_health_checks_without_an_answer_eject_after_several() -> None:
    one = up()
    states = []
    for _ in range(3):
        one.silent("too long")
        states.append(one.state)
    assert states == [UpstreamState.UP, UpstreamState.UP, UpstreamState.EJECTED]


def test_a_call_or_a_health_check_that_is_answered_ends_the_silence() -> None:
    one = up()
    for end in (one.healthy, lambda: call(one), lambda: call(one, REFUSED)):
        one.silent("too long")
        one.silent("too long")
        end()
    assert one.state is UpstreamState.UP


def test_neither_silence_and_failures_add_up_nor_health_forgives_failures() -> None:
    one = up()
    states = []
    for request in ("a", "b", "c"):
        one.healthy()
        one.silent("too long")
        call(one, CUT, request)
        states.append(one.state)
    assert states == [UpstreamState.UP, UpstreamState.UP, UpstreamState.EJECTED]


def test_overload_never_ejects_but_puts_it_last() -> None:
    one = up()
    before = one.failed_at
    for number in range(9):
        call(one, OVERLOADED, f"{number}")
    assert one.state is UpstreamState.UP
    assert one.failed_at > before


def test_a_replica_that_is_set_aside_is_no_longer_ejected() -> None:
    one = up()
    one.set_aside(503)
    call(one, DEAD)
    assert one.state is UpstreamState.UNREADY


def test_a_replica_that_leaves_is_idle_when_its_last_call_is_over() -> None:
    one = up()
    with Lease(one, 3, None) as lease:
        one.leave()
        for _ in range(3):
            lease.done()
        assert not one.idle.is_set()
        with Lease(one, 1, None):
            pass
    assert one.idle.is_set()


def test_a_replica_that_has_nothing_to_do_leaves_at_once() -> None:
    one = up()
    one.leave()
    assert one.idle.is_set()
    assert one.state is UpstreamState.LEAVING


def test_answers_that_are_errors_make_it_suspect_and_eject_nothing() -> None:
    one = up()
    for number in range(9):
        assert one.suspect is (number >= 3)
        call(one, FAILED, f"{number}")
    assert one.state is UpstreamState.UP
    call(one)
    assert not one.suspect


def test_a_proxy_that_lost_patience_is_an_answer() -> None:
    """Long requests behind an impatient proxy eject nothing; own timeouts, without a word, do."""
    one = up()
    for number in range(3):
        call(one, status_error(504, b"", None), f"{number}")
    before = one.state
    assert before is UpstreamState.UP
    assert one.suspect
    for number in range(3):
        call(one, UpstreamError(Fault.TIMEOUT, "The upstream took too long."), f"own {number}")
    assert one.state is UpstreamState.EJECTED


def test_a_dead_engine_ejects_although_it_answered() -> None:
    one = up()
    call(one, status_error(500, b"EngineCore encountered an issue", None))
    assert one.state is UpstreamState.EJECTED
    assert one.trouble == "The upstream's engine is dead."


def test_reasons_without_end_are_not_logged_without_end(caplog: pytest.LogCaptureFixture) -> None:
    one = replica()
    for number in range(1000):
        one.stays_down(f"reason {number}")
    assert len(caplog.records) == 20
