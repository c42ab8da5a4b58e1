"""What may not win whatever its reward is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from bon_gateway.errors import BadRequestError
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.validity import AnswerCheck, Validity
from bon_gateway.testing.fakes import FakePolicy, completion
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import CandidateStatus, ChatRequest, Completion, Tier

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = {"type": "function", "function": {"name": "count", "parameters": SCHEMA}}

Judged = Callable[..., Awaitable[Validity]]


@pytest.fixture
async def judged(referee: Referee) -> Judged:
    async def verdict(completion: Completion, **sampling: Any) -> Validity:
        policy = FakePolicy(thinking=sampling.pop("thinking", None))
        request = ChatRequest([{"role": "user", "content": "?"}], sampling, None, 1, "id")
        check = await referee.check_for(request, policy)
        outcome = check.judge(completion)
        return outcome if isinstance(outcome, Validity) else await check.answer(outcome)

    return verdict


def call(arguments: Any, name: Any = "count") -> list[dict[str, Any]]:
    return [{"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}]


def called(calls: Any) -> Completion:
    return completion(None, finish_reason="tool_calls", tool_calls=calls)


def tool(parameters: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "count", "parameters": parameters}}]


def json_schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


ANY = some.sampled_from(
    [None, "", " \n", "so", [], [{}], {}, {"transcript": "so"}, 0, 1, call("{}")]
)
ANY_FIELD = some.sampled_from(["content", "refusal", "reasoning", "tool_calls", "audio"])


@given(some.dictionaries(ANY_FIELD, ANY), some.sampled_from(["stop", "length", "x"]))
def test_the_quick_look_at_a_text_finds_what_the_slow_one_does(
    message: dict[str, Any], finish_reason: str
) -> None:
    """Marks of thinking that do not occur change nothing, and are not looked for quickly."""
    drawn = Completion({"role": "assistant", **message}, finish_reason, 1, 1)
    marks = ThinkingSettings(start="<think>", end="</think>")
    assert AnswerCheck().judge(drawn) == AnswerCheck(thinking=marks).judge(drawn)


@pytest.mark.parametrize("text", ["", None])
async def test_an_empty_answer_is_invalid(judged: Judged, text: str | None) -> None:
    assert await judged(completion(text)) == Validity(CandidateStatus.INVALID, "empty")


@pytest.mark.parametrize(
    ("drawn", "tier"),
    [
        (completion("so", finish_reason="length"), Tier.ANSWER),
        (completion(None, finish_reason="length", reasoning="so"), Tier.NO_ANSWER),
        (completion("", finish_reason="length"), Tier.NO_ANSWER),
        (completion(None, finish_reason="length"), Tier.NO_ANSWER),
        (completion("\n", finish_reason="length"), Tier.NO_ANSWER),
        (completion(None, finish_reason="length", tool_calls=call('{"n": ')), Tier.ANSWER),
    ],
)
@pytest.mark.parametrize("demand", [{}, {"response_format": {"type": "json_object"}}])
async def test_what_the_token_limit_ended_is_truncated_whatever_it_left(
    judged: Judged, drawn: Completion, tier: Tier, demand: dict[str, Any]
) -> None:
    assert await judged(drawn, **demand) == Validity(CandidateStatus.TRUNCATED, None, tier)


async def test_white_space_alone_is_no_answer(judged: Judged) -> None:
    expected = Validity(CandidateStatus.FINISHED, "blank", Tier.NO_ANSWER)
    assert await judged(completion(" \n\t")) == expected


@pytest.mark.parametrize(
    "demand", [{}, {"response_format": json_schema(SCHEMA)}, {"tools": [TOOL]}]
)
async def test_an_answer_in_the_reasoning_is_usable(judged: Judged, demand: dict[str, Any]) -> None:
    expected = Validity(CandidateStatus.FINISHED, "reasoning_only", Tier.MISPLACED)
    assert await judged(completion(None, reasoning='{"n": 1}'), **demand) == expected
    assert await judged(completion("", reasoning_content="42"), **demand) == expected


async def test_a_refusal_is_an_answer(judged: Judged) -> None:
    assert (await judged(completion(None, refusal="no"))).status == "finished"
    wanted = json_schema(SCHEMA)
    assert (await judged(completion(None, refusal="no"), response_format=wanted)).reason is None


@pytest.mark.parametrize(
    ("response_format", "text", "reason"),
    [
        ({"type": "json_object"}, '{"a": 1}', None),
        ({"type": "json_object"}, "[1]", "not_json_object"),
        ({"type": "json_object"}, "{a: 1}", "not_json"),
        ({"type": "json_object"}, "", "not_json"),
        ({"type": "json_object"}, "[" * 2000, "not_json"),
        (json_schema(SCHEMA), '{"n": 3}', None),
        (json_schema(SCHEMA), '{"n": "3"}', "violates_schema"),
        (json_schema({"$ref": "#"}), "{}", None),
        (json_schema({"items": [{"type": "string"}]}), "[1]", "violates_schema"),
        (json_schema({"pattern": r"^(?=\p{L})(?<first>.)"}), '"1"', "violates_schema"),
        (json_schema({"pattern": r"^(?=\p{L})(?<first>.)"}), '"é"', None),
        ({"type": "text"}, "free text", None),
    ],
)
async def test_json_where_json_was_asked_for(
    judged: Judged, response_format: dict[str, Any], text: str, reason: str | None
) -> None:
    expected = CandidateStatus.FINISHED if reason is None else CandidateStatus.INVALID
    verdict = await judged(completion(text), response_format=response_format)
    assert verdict == Validity(expected, reason)


@pytest.mark.parametrize("schema", [SCHEMA, '{"type": "object", "required": ["n"]}'])
async def test_vllms_own_structured_outputs_are_checked_too(judged: Judged, schema: Any) -> None:
    for text, reason in (("no", "not_json"), ("{}", "violates_schema"), ('{"n": 1}', None)):
        verdict = await judged(completion(text), structured_outputs={"json": schema})
        assert verdict.reason == reason


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        (call('{"n": 3}'), None),
        (call('{"n": "3"}'), "tool_arguments_violate_schema"),
        (call('{"n": 3'), "tool_arguments_not_json"),
        (call('{"n": 3}', name="other"), "unknown_tool"),
        (call(""), "tool_arguments_violate_schema"),
        (call('{"n": 3}') + call("{}"), "tool_arguments_violate_schema"),
    ],
)
async def test_tool_calls(judged: Judged, calls: list[dict[str, Any]], reason: str | None) -> None:
    assert (await judged(called(calls), tools=[TOOL])).reason == reason


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (None, None),
        ({}, None),
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, None),
        ({"type": "object", "required": []}, None),
        (SCHEMA, "tool_arguments_violate_schema"),
        # No dialect takes this one, and yet it says what is required.
        ({"type": "any", "required": ["n"]}, "tool_arguments_violate_schema"),
    ],
)
async def test_no_arguments_are_right_where_none_are_required(
    judged: Judged, parameters: Any, reason: str | None
) -> None:
    assert (await judged(called(call("")), tools=tool(parameters))).reason == reason


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"n": {"items": [{"type": "string"}, {"type": "number"}]}}},
        {"properties": {"n": {"pattern": r"^\p{L}+$"}}},
        {"properties": {"n": {"pattern": "(?<name>a)|."}}},
        {"properties": {"n": {"minimum": 1, "exclusiveMinimum": True}}},
        {"properties": {"n": {"type": "integer", "required": True}}},
        {"properties": {"n": {"type": "any"}}},
        {"properties": {"n": {"enum": [None, 3]}}},
        {"required": None},
        {"required": [None, "n"]},
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [True]},
        {"$schema": "https://example.com/no-such-dialect"},
        {"$schema": 7},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "http://127.0.0.1:1/remote.json"},
        {"$id": "http://[", "properties": {"n": {"$ref": "#/$id"}}},
        {"properties": {"n": {"pattern": r"^[\w-.]+$"}}},
        {"properties": {"n": {"pattern": "("}}},
    ],
    ids=str,
)
async def test_no_tool_is_refused_for_its_schema(judged: Judged, parameters: Any) -> None:
    verdict = await judged(called(call('{"n": 3}')), tools=tool(parameters))
    assert verdict.status == "finished"
    assert (await judged(completion("not called"), tools=tool(parameters))).status == "finished"


async def test_the_dialect_of_a_tool_is_found(judged: Judged) -> None:
    for parameters in (
        {"properties": {"n": {"items": [{"type": "string"}]}}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"n": False}},
        {"$schema": "http://json-schema.org/draft-04/schema", "properties": {"n": {"minItems": 2}}},
    ):
        verdict = await judged(called(call('{"n": [3]}')), tools=tool(parameters))
        assert verdict.reason == "tool_arguments_violate_schema"


BROKEN: list[Any] = [
    *("x", {"0": 1}, 7, True, ["x"], [None], [[]], [{}], [{"function": None}]),
    *([{"function": "x"}], [{"function": {"name": "count"}}]),
    *(call(None), call({"n": 3}), call(3), call("{}", name=None), call("{}", name=["count"])),
]


@pytest.mark.parametrize("calls", BROKEN, ids=str)
async def test_a_broken_tool_call_is_one_invalid_candidate(judged: Judged, calls: Any) -> None:
    invalid = Validity(CandidateStatus.INVALID, "malformed")
    assert await judged(called(calls), tools=[TOOL]) == invalid
    assert await judged(called(calls)) == invalid


@pytest.mark.parametrize("name", ["content", "refusal"])
@pytest.mark.parametrize("value", [7, ["x"], {"text": "x"}, True])
async def test_text_of_another_type_is_one_invalid_candidate(
    judged: Judged, name: str, value: Any
) -> None:
    drawn = completion("x", **({name: value} if name == "refusal" else {}))
    if name == "content":
        drawn = completion(value)
    assert await judged(drawn) == Validity(CandidateStatus.INVALID, "malformed")


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda below: some.lists(below) | some.dictionaries(some.text(), below),
    max_leaves=12,
)
FIELDS = some.sampled_from(["content", "refusal", "tool_calls", "reasoning", "role", "x"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    message=some.dictionaries(FIELDS, JSON),
    function=some.dictionaries(some.sampled_from(["name", "arguments"]), JSON | some.just("count")),
    tools=some.just([TOOL]) | some.lists(some.just(TOOL) | JSON),
    choice=some.sampled_from(["auto", "required"]) | JSON,
    wanted=some.fixed_dictionaries({"type": some.just("json_schema"), "json_schema": JSON}) | JSON,
    finish_reason=some.sampled_from(["stop", "length", "tool_calls"]),
)
async def test_whatever_comes_from_either_side_is_judged(
    judged: Judged,
    message: dict[str, Any],
    function: dict[str, Any],
    tools: Any,
    choice: Any,
    wanted: Any,
    finish_reason: str,
) -> None:
    drawn = Completion(message, finish_reason, 1, 1)
    with_call = Completion({**message, "tool_calls": [{"function": function}]}, "stop", 1, 1)
    for outcome in (drawn, with_call):
        try:
            verdict = await judged(outcome, tools=tools, tool_choice=choice, response_format=wanted)
        except BadRequestError:
            continue
        assert verdict.status in (
            CandidateStatus.FINISHED,
            CandidateStatus.TRUNCATED,
            CandidateStatus.INVALID,
        )


async def test_a_tool_call_that_was_demanded_and_did_not_come(judged: Judged) -> None:
    named = {"type": "function", "function": {"name": "count"}}
    for choice, reason in (("required", "no_tool_call"), (named, "no_tool_call"), ("auto", None)):
        verdict = await judged(completion("hi"), tools=[TOOL], tool_choice=choice)
        assert verdict.reason == reason


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/nowhere"},
        {"$ref": "http://127.0.0.1:1/remote.json"},
        {"properties": {"a": {"$ref": "#/properties/a/none"}}},
        {"required": [None]},
    ],
    ids=str,
)
async def test_a_schema_that_is_none_is_the_clients_mistake(judged: Judged, schema: Any) -> None:
    with pytest.raises(BadRequestError) as caught:
        await judged(completion("{}"), response_format=json_schema(schema))
    assert caught.value.param == "response_format.json_schema.schema"
    with pytest.raises(BadRequestError) as caught:
        await judged(completion("{}"), structured_outputs={"json": schema})
    assert caught.value.param == "structured_outputs.json"


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        ('<think>{"a": 1}?</think>\n{"n": 1}', Validity(CandidateStatus.FINISHED)),
        ('so\n</think>{"n": 1}', Validity(CandidateStatus.FINISHED)),
        ('{"n": 1}', Validity(CandidateStatus.FINISHED)),
        ('<think>{"n": 1}</think>no', Validity(CandidateStatus.INVALID, "not_json")),
        (' <think>{"n": 1}', Validity(CandidateStatus.TRUNCATED, None, Tier.NO_ANSWER)),
    ],
)
async def test_json_is_looked_for_behind_the_thinking(
    judged: Judged, content: str, verdict: Validity
) -> None:
    wanted = json_schema(SCHEMA)
    given = await judged(completion(content), response_format=wanted, thinking=ThinkingSettings())
    assert given == verdict


async def test_thinking_that_says_nothing_in_the_end_is_empty(judged: Judged) -> None:
    verdict = await judged(completion("<think>so</think>"), thinking=ThinkingSettings())
    assert verdict == Validity(CandidateStatus.INVALID, "empty")


def test_passthrough_takes_everything() -> None:
    assert AnswerCheck.anything().judge(completion("")) == Validity(CandidateStatus.FINISHED)
