"""Chunks put together: whose piece is whose."""

from __future__ import annotations

from typing import Any

import pytest

from bon_gateway.assemble import Assembly
from bon_gateway.types import Delta


def assembled(*deltas: dict[str, Any] | None) -> dict[str, Any]:
    assembly = Assembly()
    for delta in deltas:
        assembly.add(Delta({"index": 0, "delta": delta}))
    return dict(assembly.completion().message)


def piece(arguments: str, name: str | None = None, **call: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": 0, "function": function, **call}]}


def arguments_of(message: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message["tool_calls"]
    ]


def test_two_ids_on_one_index_are_two_calls() -> None:
    message = assembled(
        piece('{"a"', "add", id="c1"), piece(": 1}"), piece("{}", "now", id="c2"), piece("")
    )
    assert arguments_of(message) == [("c1", "add", '{"a": 1}'), ("c2", "now", "{}")]


def test_an_id_that_comes_with_every_piece_is_one_call() -> None:
    message = assembled(piece('{"a"', "add", id="c1"), piece(": 1}", "add", id="c1"))
    assert arguments_of(message) == [("c1", "add", '{"a": 1}')]


def test_pieces_of_several_calls_may_alternate() -> None:
    second = {"index": 1, "id": "c2", "function": {"name": "now", "arguments": "{"}}
    message = assembled(
        piece('{"a"', "add", id="c1"),
        {"tool_calls": [second]},
        piece(": 1}"),
        {"tool_calls": [{"index": 1, "function": {"arguments": "}"}}]},
    )
    assert arguments_of(message) == [("c1", "add", '{"a": 1}'), ("c2", "now", "{}")]


@pytest.mark.parametrize("nothing", [None, {}, {"tool_calls": None}, {"content": None}])
def test_a_delta_that_says_nothing_changes_nothing(nothing: dict[str, Any] | None) -> None:
    assert assembled({"content": "a"}, nothing, {"content": "b"})["content"] == "ab"


def test_a_piece_without_a_function_changes_nothing() -> None:
    message = assembled(
        piece("{}", "add", id="c1"), {"tool_calls": [{"index": 0, "function": None}]}
    )
    assert arguments_of(message) == [("c1", "add", "{}")]


def test_the_role_is_the_upstreams() -> None:
    assert assembled({"role": "tool", "content": ""}, {"content": "x"})["role"] == "tool"
