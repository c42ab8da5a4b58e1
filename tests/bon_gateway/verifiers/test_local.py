"""Verifiers that compute their verdicts in the gateway: what passes, what fails, what abstains."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from pydantic import ValidationError

from bon_common.settings.errors import SettingsError
from bon_gateway.verdicts import ONLY_CALLS, VerdictOutcome
from tests.bon_gateway.verifiers.support import said, settings_of, verdict

OBJECT = {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}}
FENCED = '```json\n{"x": 1}\n```'
AT_A = {"type": "json_field", "field": "a"}
GERMAN = "Das ist ein ganz gewöhnlicher Satz in deutscher Sprache, und noch einer dazu."
ENGLISH = "This is quite an ordinary sentence in the English language, and one more."


@pytest.mark.parametrize(
    ("section", "answer", "outcome", "reason"),
    [
        ({"type": "json_schema", "json_schema": OBJECT}, '{"x": 1}', "pass", None),
        ({"type": "json_schema", "json_schema": OBJECT}, '{"x": "1"}', "fail", "violates_schema"),
        ({"type": "json_schema", "json_schema": OBJECT}, "x is 1", "fail", "not_json"),
        ({"type": "json_schema", "json_schema": OBJECT}, FENCED, "fail", "not_json"),
        (
            {"type": "json_schema", "json_schema": OBJECT, "fenced": True},
            FENCED,
            "pass",
            None,
        ),
        # Too costly for the event loop, so the checking process is asked.
        (
            {"type": "json_schema", "json_schema": {"pattern": "^(a|aa)+$", "minItems": 1}},
            '"' + "a" * 40 + '"',
            "pass",
            None,
        ),
        ({"type": "regex", "pattern": "(?i)rome"}, "It is ROME.", "pass", None),
        ({"type": "regex", "pattern": "(?i)rome"}, "It is Paris.", "fail", "no_match"),
        ({"type": "regex", "pattern": "sorry", "matches": False}, "I am sorry", "fail", "matches"),
        ({"type": "regex", "pattern": "sorry", "matches": False}, "Here it is", "pass", None),
        ({"type": "regex", "pattern": "end$"}, "x" * 10_000 + "end", "pass", None),
        ({"type": "regex", "pattern": "a"}, "\ud800a", "pass", None),
        ({"type": "length", "max": 3}, "one two three", "pass", None),
        ({"type": "length", "max": 3}, "one two three four", "fail", "too_long"),
        ({"type": "length", "min": 2}, "one", "fail", "too_short"),
        ({"type": "length", "unit": "characters", "max": 3}, " abc ", "pass", None),
        ({"type": "length", "unit": "characters", "max": 3}, "abcd", "fail", "too_long"),
        ({"type": "equals", "reference": "Rome"}, " rome\n", "pass", None),
        ({"type": "equals", "reference": "Rome"}, "It is Rome", "fail", "different"),
        (
            {"type": "equals", "reference": "1,234.50", "extract": {"type": "last_number"}},
            "So it is $1234.5",
            "pass",
            None,
        ),
        (
            {"type": "equals", "reference": "1", "extract": {"type": "last_number"}},
            "none",
            "fail",
            "no_final_answer",
        ),
        ({"type": "equals", "reference": "x + 1", "extract": {"type": "boxed"}},
         r"So \boxed{x+1}.", "pass", None),
        ({"type": "equals", "reference": r"it is \boxed{7}", "extract": {"type": "boxed"}},
         r"So \boxed{7}.", "pass", None),
        (
            {"type": "equals", "reference": "Rome", "extract": AT_A},
            '{"a": "rome"}',
            "pass",
            None,
        ),
        ({"type": "numeric", "reference": "3.14", "tolerance": 0.01}, "pi is 3.1416", "pass", None),
        ({"type": "numeric", "reference": "3.14"}, "pi is 3.1416", "fail", "different"),
        (
            {"type": "numeric", "reference": "100", "relative_tolerance": 0.05},
            "about 104.9",
            "pass",
            None,
        ),
        ({"type": "numeric", "reference": "3"}, "three", "fail", "no_number"),
        ({"type": "numeric", "reference": "three"}, "3", "abstain", "reference_is_no_number"),
        ({"type": "language", "languages": ["de"]}, GERMAN, "pass", None),
        ({"type": "language", "languages": ["de"]}, ENGLISH, "fail", "other_language"),
        ({"type": "language", "languages": ["de", "en"]}, ENGLISH, "pass", None),
        ({"type": "language", "languages": ["de"]}, "Ja.", "abstain", "too_short"),
    ],
)  # fmt: skip
async def test_verdicts(
    section: dict[str, Any], answer: str, outcome: str, reason: str | None
) -> None:
    if section["type"] == "language":
        assert importlib.util.find_spec("py3langid"), "the extra `language` is part of the tests"
    settings_of(**section).check()
    found = await verdict(answer, **section)
    assert (found.outcome, found.reason) == (outcome, reason)


@pytest.mark.parametrize("kind", ["equals", "numeric"])
async def test_the_expected_answer_comes_with_the_request(kind: str) -> None:
    right = await verdict("42", metadata={"reference": "42"}, type=kind)
    wrong = await verdict("42", metadata={"reference": 43}, type=kind)
    without = await verdict("42", type=kind)
    assert [right.outcome, wrong.outcome] == [VerdictOutcome.PASS, VerdictOutcome.FAIL]
    assert (without.outcome, without.reason) == (VerdictOutcome.ABSTAIN, "no item.reference")


async def test_calls_count_as_the_final_answer() -> None:
    calls = [{"function": {"name": "f", "arguments": '{"a": 1}'}}]
    section: dict[str, Any] = {
        "type": "equals",
        "extract": {"type": "tool_calls"},
        "reference": "x",
    }
    found = await verdict(said("", tool_calls=calls), **section)
    assert found.reason == "different"


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"type": "regex", "pattern": "("}, "is not a regular expression"),
        ({"type": "length"}, "set min, max or both"),
        ({"type": "length", "min": 3, "max": 2}, r"max \(2\) is below min \(3\)"),
        ({"type": "equals", "reference": "{{ answer }}"}, "should begin with item. or sample."),
        ({"type": "equals", "reference": "{{ item.a"}, "begins no"),
        ({"type": "equals", "reference": "{{ sample.text }}"}, "a sample has output_text"),
        ({"type": "language", "languages": ["german"]}, "String should match"),
        ({"type": "python", "source": "x"}, "runs no code of a grader"),
        ({"type": "nonsense"}, "does not match any of the expected tags"),
    ],
)
def test_what_settings_refuse(section: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        settings_of(**section)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"type": "json_schema", "json_schema": {"type": "nonsense"}}, "json_schema"),
        ({"type": "language", "languages": ["xx"]}, "languages"),
        ({"type": "function", "function": "no_such_module:f"}, "function"),
    ],
)
def test_what_is_found_before_serving(section: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingsError) as raised:
        settings_of(**section).check()
    assert raised.value.key == key


CALLS = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]


@pytest.mark.parametrize(
    "section",
    [
        {"type": "json_schema", "json_schema": OBJECT},
        {"type": "regex", "pattern": "a"},
        {"type": "regex", "pattern": "a", "matches": False},
        {"type": "length", "min": 1},
        {"type": "equals", "reference": "x"},
        {"type": "numeric", "reference": "1"},
        {"type": "language", "languages": ["de"]},
    ],
)
@pytest.mark.parametrize("text", [None, "", " \n"])
async def test_a_verifier_of_text_says_nothing_about_tool_calls(
    section: dict[str, Any], text: str | None
) -> None:
    found = await verdict(said(text, tool_calls=CALLS), **section)
    assert (found.outcome, found.reason) == (VerdictOutcome.ABSTAIN, ONLY_CALLS)
    assert (await verdict(said("word", tool_calls=CALLS), **section)).reason != ONLY_CALLS
    assert (await verdict(said(text), **section)).reason != ONLY_CALLS


@pytest.mark.parametrize(
    "answer",
    [
        '```json\r\n{"x": 1}\r\n```',
        '``` json\n{"x": 1}\n```',
        '```json {"x": 1}```',
        '```{"x": 1}```',
        '~~~\n{"x": 1}\n~~~',
        '\n````JSON\n{"x": 1}\n````\n',
        '{"x": 1}',
    ],
)
async def test_fences(answer: str) -> None:
    section: dict[str, Any] = {"type": "json_schema", "json_schema": OBJECT, "fenced": True}
    assert (await verdict(answer, **section)).outcome is VerdictOutcome.PASS
    assert (await verdict(f"Here it is: {answer}", **section)).reason == "not_json"


@pytest.mark.parametrize("extract", [{"type": "last_number"}, {"type": "boxed"}])
@pytest.mark.parametrize("reference", [["42", "43"], [], {"a": 43}])
async def test_several_expected_answers_are_none(extract: dict[str, Any], reference: Any) -> None:
    for kind in ("equals", "numeric"):
        found = await verdict("43", type=kind, extract=extract, metadata={"reference": reference})
        assert found.outcome is VerdictOutcome.ABSTAIN
        assert found.reason == "item.reference is a list or an object"
    whole = await verdict("[1,2]", type="equals", metadata={"reference": [1, 2]})
    assert whole.outcome is VerdictOutcome.PASS


async def test_an_answer_too_long_to_be_searched_is_not_called_wrong() -> None:
    text = '{"a": 1, "pad": "' + "x" * 70_000 + '"}'
    found = await verdict(text, type="equals", reference="1", extract=AT_A)
    assert (found.outcome, found.reason) == (VerdictOutcome.ABSTAIN, "too_long")


@pytest.mark.parametrize(
    "schema",
    [
        {"name": "x", "schema": OBJECT},
        {"name": "x", "strict": True, "description": "d", "schema": OBJECT},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": OBJECT}},
        {"tpye": "object"},
        {"title": "Anything"},
    ],
)
def test_what_would_pass_any_json_is_no_schema(schema: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"OpenAI's wrapper|has no keyword of JSON Schema"):
        settings_of(type="json_schema", json_schema=schema)
    settings_of(type="json_schema", json_schema={})
