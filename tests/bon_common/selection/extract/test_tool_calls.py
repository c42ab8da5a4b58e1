from __future__ import annotations

from typing import Any

from bon_common.selection.extract.bounds import MOST_SEARCHED
from bon_common.selection.extract.tool_calls import called


def call(name: str, arguments: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def test_equal_calls_are_equal_whatever_their_form() -> None:
    one = called([call("get", '{"a": 1, "b": {"c": 2, "d": 3}}', id="1"), call("end", "")])
    other = called([call("end", "{}"), call("get", '{"b":{"d":3,"c":2},"a":1}', id="2")])
    assert one == other == '["end",{}]\n["get",{"a":1,"b":{"c":2,"d":3}}]'


def test_other_calls_are_others() -> None:
    calls = [call("get", "{}"), call("get", '{"a":1}'), call("got", "{}"), call("get", '{"a":"1"}')]
    assert len({called([each]) for each in calls} | {called(calls[:1] * 2)}) == 5


def test_no_call_and_what_is_not_json_is_no_answer() -> None:
    assert called([]) is None
    assert called([call("get", "{"), call("get", "{}")]) is None
    assert called([call("get", "[" * 300 + "]" * 300), call("get", "{}")]) is None


def test_what_is_too_long_is_no_answer() -> None:
    assert called([call("get", "1".ljust(MOST_SEARCHED - 1)), call("get", "1")]) is not None
    assert called([call("get", "1".ljust(MOST_SEARCHED)), call("get", "1")]) is None
