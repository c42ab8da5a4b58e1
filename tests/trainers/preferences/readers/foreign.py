"""Lines of formats that others made, and the records that they mean."""

from __future__ import annotations

from typing import Any

from tests.trainers.preferences.helpers import bot, system, user
from trainers.base.data import Message
from trainers.preferences.records import ListedAnswer, Listwise, Pairwise, Pointwise, Preference

ASK = [user("hi")]
PAIR = Pairwise(ASK, [bot("good")], [bot("bad")])


def said(who: str, what: str) -> dict[str, str]:
    return {"from": who, "value": what}


def listed(*answers: tuple[str, float], policy: bool = False) -> Listwise:
    """An order of answers; the policies are m0, m1 and so on."""
    return Listwise(
        ASK,
        tuple(
            ListedAnswer([bot(text)], score, {"policy": f"m{i}"} if policy else {})
            for i, (text, score) in enumerate(answers)
        ),
        ordinal=True,
    )


CHATS = {
    "conversation_a": [*ASK, bot("good")],
    "conversation_b": [*ASK, bot("bad")],
}
LONG = [*ASK, bot("same"), user("and?")]
STEER = {"helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 2}
RATINGS = {name: float(value) for name, value in STEER.items()}
STEER_TURNS = "hi\n<extra_id_1>Assistant\nho\n<extra_id_1>User\nand?"
TWO = {"prompt": "hi", "response_1": "bad", "response_2": "good"}
STUDIO = {"prompt": "hi", "answer1": "good", "answer2": "bad"}


def picked(*sides: str | None, **more: Any) -> list[dict[str, Any]]:
    """Annotations of Label Studio."""
    return [
        {"result": [{"type": "pairwise", "value": {"selected": side} if side else {}}]} | more
        for side in sides
    ]


CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}],
}
CALL_TEXT = '{"name": "add", "arguments": {"a": 1}}'

FOREIGN: list[tuple[str, dict[str, Any], list[Preference]]] = [
    (
        "sharegpt",
        {"conversations": [said("system", "S"), said("human", "hi"), said("gpt", "ho")]},
        [Listwise([system("S"), *ASK], (ListedAnswer([bot("ho")]),))],
    ),
    (
        "sharegpt",
        {
            "conversations": [said("human", "hi")],
            "chosen": said("gpt", "good"),
            "rejected": said("gpt", "bad"),
        },
        [PAIR],
    ),
    ("sharegpt", {"conversations": ASK, "chosen": "good", "rejected": "bad"}, [PAIR]),
    (
        "sharegpt",
        {
            "chosen": [said("human", "hi"), said("gpt", "good")],
            "rejected": [said("human", "hi"), said("gpt", "bad")],
            "chosen_score": 3,
            "rejected_score": 1,
            "system": "S",
        },
        [Pairwise([system("S"), *ASK], [bot("good")], [bot("bad")], 2.0)],
    ),
    (
        "sharegpt",
        {
            "conversations": [
                said("human", "hi"),
                said("function_call", CALL_TEXT),
                said("observation", "2"),
                said("gpt", "Two."),
            ]
        },
        [Listwise([*ASK, CALL, {"role": "tool", "content": "2"}], (ListedAnswer([bot("Two.")]),))],
    ),
    (
        "openai_preference",
        {
            "input": {"messages": ASK},
            "preferred_output": [bot("good")],
            "non_preferred_output": [bot("bad")],
        },
        [PAIR],
    ),
    (
        "nectar",
        {
            "prompt": "\n\nHuman: hi\n\nAssistant: ",
            "answers": [
                {"answer": "good ", "model": "m0", "rank": 1.0},
                {"answer": "bad", "model": "m1", "rank": 2.0},
            ],
        },
        [listed(("good", -1.0), ("bad", -2.0), policy=True)],
    ),
    (
        "helpsteer2",
        {"prompt": "hi", "response": "ho"} | STEER,
        [Pointwise(ASK, [bot("ho")], 4.0, RATINGS)],
    ),
    (
        "helpsteer2",
        {"prompt": STEER_TURNS, "response": "ho"} | STEER,
        [Pointwise([*ASK, bot("ho"), user("and?")], [bot("ho")], 4.0, RATINGS)],
    ),
    (
        "helpsteer3",
        {"context": ASK, "response1": "good", "response2": "bad", "overall_preference": -2},
        [Pairwise(ASK, [bot("good")], [bot("bad")], 2.0)],
    ),
    (
        "helpsteer3",
        {"context": ASK, "response1": "bad", "response2": "good", "overall_preference": 1},
        [Pairwise(ASK, [bot("good")], [bot("bad")], 1.0)],
    ),
    (
        "helpsteer3",
        TWO | {"preference_strength": 3},
        [Pairwise(ASK, [bot("good")], [bot("bad")], 3.0)],
    ),
    ("helpsteer3", TWO | {"preference_strength": 0}, []),
    (
        "pku_saferlhf",
        {"prompt": "hi", "response_0": "bad", "response_1": "good"}
        | {"better_response_id": 1, "safer_response_id": 0},
        [Pairwise(ASK, [bot("good")], [bot("bad")], dimensions={"helpful": 1, "safe": -1})],
    ),
    (
        "llmbar",
        {"input": "hi", "output_1": "bad", "output_2": "good", "label": 2, "subset": "Natural"},
        [Pairwise(ASK, [bot("good")], [bot("bad")], subset="Natural")],
    ),
    ("arena", CHATS | {"winner": "model_a", "turn": 1}, [PAIR]),
    ("arena", CHATS | {"winner": "tie (bothbad)"}, []),
    (
        "arena",
        {
            "conversation_a": [*ASK, bot("bad"), user("and?"), bot("x")],
            "conversation_b": [*ASK, bot("good"), user("and?"), bot("y")],
            "winner": "model_b",
            "turn": 1,
        },
        [PAIR],
    ),
    (
        "arena",
        {
            "conversation_a": [*LONG, bot("bad")],
            "conversation_b": [*LONG, bot("good")],
            "winner": "model_b",
            "turn": 2,
        },
        [Pairwise(LONG, [bot("good")], [bot("bad")])],
    ),
    (
        "arena_table",
        {"prompt": '["hi"]', "response_a": '["bad"]', "response_b": '["good"]'}
        | {"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0},
        [PAIR],
    ),
    (
        "arena_table",
        {"prompt": ["hi"], "response_a": ["bad"], "response_b": [None]}
        | {"winner_model_a": 0, "winner_model_b": 0, "winner_tie": 1},
        [],
    ),
    (
        "argilla",
        {
            "fields": {"prompt": "hi", "response-1": "bad", "response-2": "good"},
            "responses": {
                "better": [{"value": "response-2", "user_id": "u"}, {"value": "response-2"}],
                "why": [{"value": "Because."}],
            },
        },
        [listed(("bad", 0.0), ("good", 1.0))],
    ),
    (
        "argilla",
        {
            "fields": {"instruction": "hi", "response_1": "bad", "response_2": "good"},
            "responses": [
                {
                    "user_id": "u",
                    "status": "submitted",
                    "values": {
                        "ranking": {
                            "value": [
                                {"value": "response_2", "rank": 1},
                                {"value": "response_1", "rank": 2},
                            ]
                        }
                    },
                },
                {"status": "discarded", "values": {"ranking": {"value": []}}},
            ],
        },
        [listed(("bad", -2.0), ("good", -1.0))],
    ),
    (
        "argilla",
        {"fields": {"prompt": "hi", "response": "ho"}}
        | {"responses": {"stars": [{"value": 4}, {"value": 5}]}},
        [Pointwise(ASK, [bot("ho")], 4.5)],
    ),
    ("argilla", {"fields": {"prompt": "hi", "response": "ho"}, "responses": {}}, []),
    (
        "label_studio",
        {"data": STUDIO, "annotations": picked("left", "left", "right")},
        [listed(("good", 2 / 3), ("bad", 1 - 2 / 3))],
    ),
    ("label_studio", {"data": STUDIO, "annotations": picked("left", was_cancelled=True)}, []),
    (
        "label_studio",
        {"data": STUDIO, "annotations": picked(None)},
        [listed(("good", 0.5), ("bad", 0.5))],
    ),
    (
        "distilabel",
        {"instruction": "hi", "generations": ["good", None, "bad"], "ratings": [5, None, 2.0]}
        | {"generation_models": ["m0", "m2", "m1"]},
        [
            Listwise(
                ASK,
                (
                    ListedAnswer([bot("good")], 5.0, {"policy": "m0"}),
                    ListedAnswer([bot("bad")], 2.0, {"policy": "m1"}),
                ),
            )
        ],
    ),
    (
        "distilabel",
        {"system": "S", "input": "hi", "generations": ["a", "b"], "rating": [9, 8]},
        [
            Listwise(
                [system("S"), *ASK],
                (ListedAnswer([bot("a")], 9.0), ListedAnswer([bot("b")], 8.0)),
            )
        ],
    ),
    (
        "thumbs",
        {"prompt": "hi", "completion": "ho", "label": True},
        [Pointwise(ASK, [bot("ho")], 1.0)],
    ),
    (
        "thumbs",
        {"prompt": ASK, "completion": [bot("ho")], "label": 0},
        [Pointwise(ASK, [bot("ho")], 0.0)],
    ),
    (
        "thumbs",
        {"prompt": "hi", "answer": "ho", "label": "False"},
        [Pointwise(ASK, [bot("ho")], 0.0)],
    ),
    (
        "stepwise",
        {"prompt": "hi", "completions": ["One.", "Two."], "labels": [True, False]},
        [Pointwise(ASK, [bot("One.\nTwo.")], 0.0)],
    ),
    (
        "canonical",
        {"instruction": "hi", "input": "there", "chosen": "good", "rejected": "bad"},
        [Pairwise([user("hi\n\nthere")], [bot("good")], [bot("bad")])],
    ),
    (
        "logged",
        {"instruction": "hi", "input": "", "output": "ho"},
        [Listwise(ASK, (ListedAnswer([bot("ho")]),))],
    ),
]
