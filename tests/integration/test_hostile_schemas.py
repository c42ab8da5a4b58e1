"""One client sends schemas made to stop the gateway, and everybody else is still answered.

The gateway, the client and the one who asks ``/livez`` are processes of their own: whatever blocks
one of them blocks no other.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.integration.gateway import Gateway
from tests.integration.probing import probing

LONGEST_S = 0.1
"""Of one ``/livez``. What these schemas can do to the loop takes from 4 to 58 s."""

CLIENT = """
import http.client, sys
head = {"content-type": "application/json"}
connection = http.client.HTTPConnection(sys.argv[1], timeout=60)
connection.request("POST", "/v1/chat/completions", sys.stdin.buffer.read(), head)
answer = connection.getresponse()
sys.stdout.buffer.write(b"%d %b" % (answer.status, answer.read()))
"""


def wanted(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


def tools(*parameters: Any) -> dict[str, Any]:
    functions = ({"name": f"f{i}", "parameters": p} for i, p in enumerate(parameters))
    return {"tools": [{"type": "function", "function": function} for function in functions]}


def doubled(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {
        f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(levels)
    }
    definitions[f"d{levels}"] = {"type": "string"}
    return {"$defs": definitions, "$ref": "#/$defs/d0"}


def called(arguments: str) -> Step:
    function = {"name": "f0", "arguments": arguments}
    return Step(text="", tool_calls=[{"id": "c", "type": "function", "function": function}])


AS = '"' + "a" * 26 + '!"'
OBJECTS = orjson.dumps([{"a": i, "b": [i]} for i in range(3000)]).decode()
LARGE = {"description": "x" * 1_500_000, "type": "string"}
PROPERTIES: dict[str, Any] = {"properties": {f"p{i}": {} for i in range(150_000)}}
TWENTY_THOUSAND: dict[str, Any] = {"properties": {f"p{i}": {} for i in range(20_000)}}
TOOL = {"type": "function", "function": {"name": "f"}}
AUTOMATON = {"pattern": "[ab]*a[ab]{900}x"}
LONG = '"' + "".join(random.Random(1).choices("ab", k=400_000)) + '"'

HOSTILE: dict[str, tuple[dict[str, Any], Step, int, str]] = {
    "backtracking": (wanted({"pattern": "^(a+)+$"}), Step(text=AS), 502, "violates_schema"),
    "backtracking with a look ahead": (
        *(wanted({"pattern": r"^(?:(a+)\1?)+$b(?=c)"}), Step(text=AS)),
        *(200, "unchecked"),
    ),
    "a large automaton": (wanted(AUTOMATON), Step(text=LONG), 200, "unchecked"),
    "unique objects": (wanted({"uniqueItems": True}), Step(text=OBJECTS), 200, '"finished"'),
    "doubled 17 deep": (wanted(doubled(17)), Step(text='"x"'), 200, '"finished"'),
    "doubled 40 deep": (wanted(doubled(40)), Step(text='"x"'), 200, "unchecked"),
    "doubled 40 deep, of a tool": (tools(doubled(40)), called('"x"'), 200, "unchecked"),
    "1.5 MB": (wanted(LARGE), Step(text='"x"'), 200, '"finished"'),
    "1.5 MB, of a tool": (tools(LARGE), called("{}"), 502, "tool_arguments_violate_schema"),
    "20,000 properties": (wanted(TWENTY_THOUSAND), Step(text="{}"), 200, '"finished"'),
    "150,000 properties": (
        *(wanted(PROPERTIES), Step(text="{}")),
        *(400, "values"),
    ),
    "150,000 properties, of a tool": (
        *(tools({}, PROPERTIES), called("{}")),
        *(400, "values"),
    ),
    "140,000 tools": ({"tools": [TOOL] * 140_000}, called("{}"), 400, "values"),
    "recursion": (wanted({"items": {"$ref": "#"}}), Step(text="[" * 250 + "]" * 250), 200, "fini"),
}


@pytest.fixture(scope="module")
def upstream_says() -> list[Step]:
    """The one step that the upstream plays now."""
    return [Step()]


@pytest.fixture
async def upstream(upstream_says: list[Step]) -> AsyncIterator[FakeUpstream]:
    def script(call: Call) -> Step:
        return upstream_says[0] if call.path == "/v1/chat/completions" else Step()

    async with FakeUpstream(script, record=False) as upstream:
        yield upstream


async def send(address: str, body: dict[str, Any]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLIENT, address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(orjson.dumps(body)), 60)
    status, _, text = output.decode().partition(" ")
    return int(status), text


def settings(upstream: FakeUpstream) -> dict[str, Any]:
    return {
        "policies": {"p": {"type": "vllm", "urls": [upstream.url], "model": upstream.model}},
        "rewards": {"r": {"type": "reward_server", "urls": [upstream.url]}},
        "models": {
            "m": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": 4}},
        },
    }


async def test_nobody_waits_for_a_hostile_schema(
    start_gateway: Callable[[Any], Gateway], upstream: FakeUpstream, upstream_says: list[Step]
) -> None:
    gateway = await asyncio.to_thread(start_gateway, settings(upstream))
    address = gateway.url.removeprefix("http://")
    said = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    waits = {}
    for name, (asked, step, status, word) in HOSTILE.items():
        upstream_says[0] = step
        with probing(address, gateway.process.pid) as worst:
            answer = await send(address, {**said, **asked})
            waits[name] = await asyncio.to_thread(worst)
        assert answer[0] == status, (name, answer[1][:500])
        assert word in answer[1], (name, answer[1][:500])
    print(waits)
    assert max(waits.values()) < LONGEST_S, waits
    # It closes with its checking process, and tells nobody what it was asked.
    members = gateway.process.members()
    gateway.process.stop()
    assert not any(member.is_running() for member in members)
    assert "a" * 16 not in gateway.process.output
