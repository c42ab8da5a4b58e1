"""A client's trace reaches vLLM and the reward model, and nothing else of its head does."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.tracing import trace_headers
from bon_gateway.types import Caller
from tests.bon_gateway.api.conftest import Served

Serve = Callable[..., Awaitable[Served]]

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = {"traceparent": PARENT, "tracestate": "a=1, b=2", "baggage": "user=me;p=1,x=y"}


def raw(**headers: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def test_the_three_are_taken_as_they_are() -> None:
    assert trace_headers(raw(host="x", **TRACE, authorization="Bearer k")) == TRACE


def test_a_list_in_several_headers_is_one() -> None:
    headers = raw(**TRACE) + raw(tracestate="c=3", baggage="z=1")
    assert trace_headers(headers) == {
        "traceparent": PARENT,
        "tracestate": "a=1, b=2,c=3",
        "baggage": "user=me;p=1,x=y,z=1",
    }


@pytest.mark.parametrize(
    "parent",
    [
        "",
        PARENT.upper(),
        PARENT[:-1],
        f"{PARENT}x",
        f"ff{PARENT[2:]}",
        f"{PARENT}\r\nx: y",
        f"{PARENT}-" + "x" * 65,
    ],
)
def test_what_is_no_trace_is_left_out_with_its_state(parent: str) -> None:
    assert trace_headers(raw(traceparent=parent, tracestate="a=1", baggage="b=1")) == {
        "baggage": "b=1"
    }


def test_two_parents_are_none() -> None:
    assert trace_headers(raw(traceparent=PARENT) * 2) == {}


def test_lists_have_a_length() -> None:
    for size, taken in ((1024, True), (1025, False)):
        found = trace_headers(raw(traceparent=PARENT, tracestate="a" * size))
        assert ("tracestate" in found) is taken
    for size, taken in ((8192, True), (8193, False)):
        assert ("baggage" in trace_headers(raw(baggage="a" * size))) is taken


@given(
    st.lists(
        st.tuples(st.sampled_from([b"traceparent", b"tracestate", b"baggage"]), st.binary()),
        max_size=4,
    )
)
def test_whatever_comes_what_goes_on_is_visible_ascii(headers: list[tuple[bytes, bytes]]) -> None:
    for value in trace_headers([*headers, *raw(traceparent=PARENT)]).values():
        assert re.fullmatch("[ -~]{1,8192}", value)


async def test_both_models_are_called_for_the_request_and_its_trace(serve: Serve) -> None:
    served = await serve()
    served.http.headers.update({"x-request-id": "mine", **TRACE})
    answer = await served.chat()
    assert answer.status_code == 200
    caller = Caller("mine", TRACE)
    assert [request.caller for request in served.policy.requests] == [caller]
    assert served.reward.callers == [caller]
