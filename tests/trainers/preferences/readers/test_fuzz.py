"""Whatever a line holds, it is read, dropped or named: no reader breaks on it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st

from trainers.base.lines import BadLineError
from trainers.preferences.forms import in_form
from trainers.preferences.readers import FORMATS, detect
from trainers.preferences.readers.options import ReadOptions
from trainers.preferences.readers.seen import Seen
from trainers.preferences.tally import Tally
from trainers.preferences.usable import usable

ROLES = st.sampled_from(["user", "assistant", "system", "tool", "human", "", None, 3])
TEXTS = st.one_of(
    st.text(max_size=4),
    st.sampled_from(["\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: c", "better"]),
)
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.just(10**400))
CONTENTS = st.one_of(TEXTS, st.none(), st.lists(st.fixed_dictionaries({"text": TEXTS}), max_size=2))
CALLS = st.lists(st.sampled_from([{}, {"function": {"name": "f"}}, {"name": "f"}, "f"]), max_size=2)
MESSAGES: st.SearchStrategy[Any] = st.lists(
    st.fixed_dictionaries({"role": ROLES}, optional={"content": CONTENTS, "tool_calls": CALLS}),
    max_size=3,
)
VALUES_INSIDE = st.one_of(TEXTS, NUMBERS, st.none(), st.lists(TEXTS, max_size=2))
ENTRIES = st.lists(
    st.one_of(
        TEXTS,
        NUMBERS,
        MESSAGES,
        st.fixed_dictionaries(
            {},
            optional={
                "answer": st.one_of(TEXTS, MESSAGES),
                "response": TEXTS,
                "overall_score": NUMBERS,
                "score": NUMBERS,
                "rank": NUMBERS,
                "reward": st.one_of(NUMBERS, st.none()),
                "message": MESSAGES.map(lambda messages: messages[0] if messages else None),
                "finish_reason": st.sampled_from(["stop", "length", None]),
                "model": st.one_of(TEXTS, NUMBERS),
                "from": st.sampled_from(["human", "gpt", "function_call", "system", 3]),
                "value": VALUES_INSIDE,
                "result": st.lists(st.just({"type": "pairwise", "value": {"selected": "left"}})),
                "status": st.sampled_from(
                    ["finished", "truncated", "failed", "submitted", "draft", 1]
                ),
                "values": st.dictionaries(TEXTS, VALUES_INSIDE, max_size=2),
            },
        ),
    ),
    max_size=3,
)
VALUES = st.one_of(TEXTS, NUMBERS, st.none(), MESSAGES, ENTRIES, st.dictionaries(TEXTS, NUMBERS))
LIKELY = {
    "prompt": st.one_of(TEXTS, MESSAGES, VALUES),
    "messages": st.one_of(MESSAGES, VALUES),
    "candidates": st.one_of(ENTRIES, VALUES),
    "completions": st.one_of(ENTRIES, VALUES),
    "v": st.sampled_from([1, 2, "1"]),
    "error": st.one_of(st.none(), VALUES),
    "degraded": st.one_of(st.none(), VALUES),
    "input": st.one_of(VALUES, st.fixed_dictionaries({"messages": MESSAGES})),
    "fields": st.dictionaries(st.sampled_from(["prompt", "response", "answer 2"]), TEXTS),
    "data": st.dictionaries(st.sampled_from(["prompt", "response", "answer 2"]), TEXTS),
    "responses": st.one_of(ENTRIES, VALUES, st.dictionaries(TEXTS, ENTRIES, max_size=2)),
}
OTHERS = (
    *("chosen", "rejected", "margin", "subset", "preferences", "sampling", "instruction"),
    *("answer", "completion", "score", "scores", "answers", "ranks", "rewrite", "first"),
    *("second", "preference", "reference", "total_completions", "system", "history", "input"),
    *("conversations", "conversation_a", "conversation_b", "winner", "turn", "fields", "responses"),
    *("data", "annotations", "generations", "ratings", "labels", "label", "output_1", "output_2"),
    *("response", "response_0", "response_1", "better_response_id", "context"),
    *("response1", "response2", "overall_preference", "preferred_output", "non_preferred_output"),
    *("response_a", "response_b", "winner_model_a", "winner_model_b", "helpfulness"),
    *("correctness", "coherence", "complexity", "verbosity", "score_chosen", "score_rejected"),
)
LINES = st.fixed_dictionaries({}, optional=dict.fromkeys(OTHERS, VALUES) | LIKELY)


@settings(max_examples=200)
@given(LINES)
def test_no_line_breaks_a_reader(line: dict[str, Any]) -> None:
    """Each line goes to all readers: to think of one takes far longer than to read it."""
    assert detect(line) in {None, *FORMATS}
    for name in FORMATS:
        note(f"reader: {name}")
        reads(name, line)


def reads(name: str, line: dict[str, Any]) -> None:
    tally = Tally()
    reason = ""
    try:
        seen = Seen(line)
        found = list(FORMATS[name].read(seen, tally, ReadOptions()))
        assert all(field.isprintable() for field in seen.unread())
    except BadLineError as error:
        found, reason = [], str(error)
    assert reason.isprintable()
    kept = [one for record in found if (one := usable(record, tally)) is not None]
    for form in ("pairwise", "pointwise", "listwise"):
        for preference in in_form(kept, form, tally):
            json.dumps(preference.as_json(), allow_nan=False).encode()
