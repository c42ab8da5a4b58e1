"""What is checked where, what is kept, and what ends the checking process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from bon_gateway.errors import BadRequestError
from bon_gateway.schemas.checks import MOST_KNOWN, Fit, SchemaChecks

RECURSIVE = {"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}}}
ENDLESS: dict[str, Any] = {
    "$defs": {
        **{f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(60)},
        "d60": True,
    },
    "$ref": "#/$defs/d0",
}


@pytest.fixture
async def checks() -> AsyncIterator[SchemaChecks]:
    checks = SchemaChecks(0.25)
    yield checks
    await checks.close()


def child(checks: SchemaChecks) -> int | None:
    process = checks._checker._process
    return None if process is None else process.pid


async def test_a_cheap_schema_needs_no_process(checks: SchemaChecks) -> None:
    schema = checks.schema({"type": "object", "required": ["n"]})
    await schema.admit("p")
    assert schema.fits('{"n": 1}', {"n": 1}) is True
    assert schema.fits("{}", {}) is False
    assert child(checks) is None


async def test_a_costly_one_is_checked_in_the_process(checks: SchemaChecks) -> None:
    schema = checks.schema(RECURSIVE)
    await schema.admit("p")
    assert schema.fits("{}", {}) is None
    assert await schema.ask('{"next": {"n": 1}}') is Fit.YES
    assert await schema.ask('{"next": {"n": "1"}}') is Fit.NO
    deep = '{"next":' * 250 + "{}" + "}" * 250
    assert await schema.ask(deep) is Fit.YES
    first = child(checks)
    assert first is not None
    assert await checks.schema(ENDLESS).ask("{}") is Fit.UNKNOWN
    assert await schema.ask('{"next": {"n": 1}}') is Fit.YES
    assert child(checks) != first


async def test_what_took_too_long_is_not_tried_again(
    checks: SchemaChecks, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert await checks.schema(ENDLESS).ask('{"secret": 1}') is Fit.UNKNOWN
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text
    await checks.schema(ENDLESS).admit("p")


@pytest.mark.parametrize(
    ("schema", "text", "fit"),
    [
        ({"pattern": r"^(?:(a+)\1?)+$b"}, '"' + "a" * 60 + '!"', Fit.UNKNOWN),
        ({"pattern": r"^(?=a)(?!b)\w+$"}, '"ab"', Fit.YES),
        ({"pattern": r"^(?=a)(?!b)\w+$"}, '"ba"', Fit.NO),
        ({"pattern": "("}, '"x"', Fit.UNKNOWN),
        ({"$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(5000)}}, "{}", Fit.YES),
        ({"properties": {"a": {"type": "any"}}}, "{}", Fit.YES),
        ({"enum": [["x"] * 1000]}, "1", Fit.NO),
        ({"uniqueItems": True, "items": {"enum": list(range(550))}}, "[1, 1]", Fit.NO),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_odd_schemas(checks: SchemaChecks, schema: Any, text: str, fit: Fit) -> None:
    assert await checks.schema(schema).ask(text) is fit


async def test_a_schema_nested_too_deeply_to_be_written_is_unknown(checks: SchemaChecks) -> None:
    raw: Any = {}
    for _ in range(2000):
        raw = {"not": raw}
    schema = checks.schema(raw)
    await schema.admit("p")
    assert schema.fits("{}", {}) is None
    assert await schema.ask("{}") is Fit.UNKNOWN


async def test_only_what_no_dialect_accepts_is_refused(checks: SchemaChecks) -> None:
    for raw in ({"type": "any"}, {"$ref": "#/nowhere"}, {**RECURSIVE, "required": [None]}):
        schema = checks.schema(raw)
        with pytest.raises(BadRequestError, match="here is not a JSON schema") as caught:
            await schema.admit("here")
        assert caught.value.param == "here"
        # As a tool's schema it judges nothing.
        assert schema.fits("1", 1) is True


async def test_the_process_is_ended_with_the_checks_and_has_no_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BON_GATEWAY_API_KEYS", "me:secret")
    checks = SchemaChecks()
    assert await checks.schema(RECURSIVE).ask("{}") is Fit.YES
    process = psutil.Process(child(checks))
    assert "BON_GATEWAY_API_KEYS" not in process.environ()
    await checks.close()
    assert not process.is_running()
    assert await checks.schema(RECURSIVE).ask("{}") is Fit.UNKNOWN


async def test_a_process_that_died_is_started_again(checks: SchemaChecks) -> None:
    assert await checks.schema(RECURSIVE).ask("{}") is Fit.YES
    process = checks._checker._process
    assert process is not None
    process.kill()
    await process.wait()
    assert await checks.schema(RECURSIVE).ask('{"n": "1"}') is Fit.NO


async def test_a_process_that_dies_at_work_is_waited_for_and_not_killed(
    checks: SchemaChecks, caplog: pytest.LogCaptureFixture
) -> None:
    for attempt in range(10):
        assert await checks.schema(RECURSIVE).ask("{}") is Fit.YES
        pid = child(checks)
        assert pid is not None
        asked = asyncio.create_task(checks.schema({**ENDLESS, "title": str(attempt)}).ask("{}"))
        await asyncio.sleep(0.02)
        psutil.Process(pid).kill()
        assert await asked is Fit.UNKNOWN
    assert {record.name for record in caplog.records} == {"bon_gateway.schemas.checks"}


async def test_one_that_leaves_disturbs_no_other(checks: SchemaChecks) -> None:
    schema = checks.schema(RECURSIVE)
    asked = [asyncio.create_task(schema.ask(f'{{"n": {n}}}')) for n in range(20)]
    await asyncio.sleep(0)
    for task in asked[::2]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers[1::2] == [Fit.YES] * 10
    assert await schema.ask('{"n": "1"}') is Fit.NO


async def test_what_is_known_is_bounded(checks: SchemaChecks) -> None:
    for n in range(2 * MOST_KNOWN):
        assert checks.schema({"const": n}).fits(str(n), n)
    assert len(checks._known) == MOST_KNOWN
    large = {"title": "x" * 50_000}
    for n in range(200):
        checks.schema({**large, "const": n}).fits(str(n), n)
    assert checks._bytes == sum(known.size for known in checks._known.values())
    assert checks._bytes <= 4 * 1024 * 1024


async def test_a_schema_is_compiled_once(checks: SchemaChecks) -> None:
    raw = {"type": "object", "properties": {"n": {"type": "integer"}}}
    first = checks.schema(raw)
    first.fits("{}", {})
    again = checks.schema({**raw})
    again.fits("{}", {})
    assert again._known is first._known
