"""What a reader does not read is part of the prompt, or refused, or named with its count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.preferences.helpers import (
    bot,
    log_candidate,
    log_line,
    read,
    system,
    user,
    write_lines,
)
from trainers.base.data import Message
from trainers.base.errors import DataError
from trainers.preferences.readers.mapping import FieldMapping
from trainers.preferences.readers.options import ReadOptions
from trainers.preferences.records import Listwise, Pairwise

FRENCH = system("Answer in French only.")
PAIR: dict[str, Any] = {"prompt": "Sky?", "chosen": "Bleu.", "rejected": "Blue."}
TURNS = [user("Sea?"), bot("Bleue."), user("Sky?")]
TALKS = {"chosen": [user("Sky?"), bot("Bleu.")], "rejected": [user("Sky?"), bot("Blue.")]}
ALPACA = {"instruction": "Translate.", "input": "Sky", "chosen": "Ciel", "rejected": "Sky"}


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        (PAIR | {"system": FRENCH["content"]}, [FRENCH, user("Sky?")]),
        (PAIR | {"system_prompt": FRENCH["content"]}, [FRENCH, user("Sky?")]),
        (PAIR | {"system": FRENCH["content"], "prompt": [FRENCH, *TURNS]}, [FRENCH, *TURNS]),
        (PAIR | {"history": [["Sea?", "Bleue."]]}, TURNS),
        (PAIR | {"history": [["Sea?", "Bleue."]], "system": "S"}, [system("S"), *TURNS]),
        (PAIR | {"history": TURNS[:2]}, TURNS),
        (PAIR | {"history": [], "system": ""}, TURNS[2:]),
        (TALKS | {"system": FRENCH["content"]}, [FRENCH, user("Sky?")]),
        (TALKS | {"prompt": [FRENCH, user("Sky?")]}, [FRENCH, user("Sky?")]),
        (TALKS | {"prompt": [FRENCH]}, [FRENCH, user("Sky?")]),
        (ALPACA, [user("Translate.\n\nSky")]),
        (ALPACA | {"input": ""}, [user("Translate.")]),
        (
            {"instruction": "Who?", "context": "Ann did it.", "response": "Ann."},
            [user("Who?\n\nAnn did it.")],
        ),
        ({"question": "Sky?", "chosen": "Bleu.", "rejected": "Blue."}, [user("Sky?")]),
        ({"system": "S", "messages": [user("a"), bot("b")]}, [system("S"), user("a")]),
        (
            {"system": "S", "chosen": "\n\nHuman: a\n\nAssistant: b"}
            | {"rejected": "\n\nHuman: a\n\nAssistant: c"},
            [system("S"), user("a")],
        ),
    ],
)
def test_columns_beside_the_prompt_are_part_of_it(
    tmp_path: Path, line: dict[str, Any], prompt: list[Message]
) -> None:
    [found], tally = read(write_lines(tmp_path / "d.jsonl", line))
    assert found.prompt == prompt
    assert tally.unread == {}
    assert tally.noted == {}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"images": ["a.png"]}, "images: only text can be learnt from"),
        ({"audio": {"path": "a.wav"}}, "audio: only text can be learnt from"),
        ({"system": ["S"]}, "system: text is expected"),
        ({"history": ["Sea?"]}, "history.0: a question and its answer are expected"),
        ({"history": "Sea?"}, "history: a list of earlier turns is expected"),
        (
            {"system": "S", "prompt": [FRENCH, user("Sky?")]},
            "system: the conversation has another system prompt",
        ),
        ({"instruction": "Translate.", "input": 3}, "input: text is expected"),
    ],
)
def test_what_cannot_be_part_of_a_prompt_is_refused(
    tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    line = {key: value for key, value in PAIR.items() if "instruction" not in more or key[0] != "p"}
    path = write_lines(tmp_path / "d.jsonl", line | more)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == f"{path}:1: {reason}"


def test_fields_that_were_not_read_are_named_and_counted(tmp_path: Path) -> None:
    named: Any = user("Sky?") | {"name": "Ann", "weight": 1, "empty": None}
    lines: list[dict[str, Any]] = [
        PAIR | {"meta": {"a": 1}, "id": 3, "none": None},
        PAIR | {"prompt": [named], "id": 4},
    ]
    path = write_lines(tmp_path / "d.jsonl", *lines)
    _, tally = read(path)
    assert tally.unread[path]["meta"] == 1
    assert tally.unread[path]["id"] == 2
    assert tally.unread[path]["prompt.weight"] == 1
    assert "none" not in tally.unread[path]
    assert "prompt.empty" not in tally.unread[path]
    assert tally.figures()["not read: id (in d.jsonl)"] == 2
    assert tally.as_json()["fields_not_read"]["d.jsonl"]["meta"] == 1
    _, tally = read(path, options=ReadOptions(ignore_fields=frozenset({"id", "meta"})))
    assert set(tally.unread[path]) <= {"prompt.weight", "prompt.name"}


def test_fields_inside_lists_are_counted_once_a_record(tmp_path: Path) -> None:
    completions = [
        {"response": text, "overall_score": score, "critique": "Fine."}
        for text, score in (("a", 3), ("b", 4))
    ]
    path = write_lines(tmp_path / "d.jsonl", {"instruction": "hi", "completions": completions})
    _, tally = read(path)
    assert tally.unread == {path: {"completions.critique": 1}}


def test_a_field_of_many_files_has_one_figure(tmp_path: Path) -> None:
    _, tally = read(write_lines(tmp_path / "a.jsonl", PAIR | {"id": 1}))
    tally.not_read(tmp_path / "b.jsonl", ["id"])
    assert tally.figures()["not read: id (in 2 files)"] == 2


def test_the_gateways_log_has_nothing_to_mention(tmp_path: Path) -> None:
    _, tally = read(write_lines(tmp_path / "d.jsonl", log_line(log_candidate(0, "a", 1.0))))
    assert tally.unread == {}


def test_fields_of_other_names_are_mapped(tmp_path: Path) -> None:
    line = {
        "question": "Sky?",
        "answers": {"best": "Bleu.", "others": ["Blue.", "Blau."], "judge": "J"},
    }
    sources = {"prompt": "question", "chosen": "answers.best", "rejected": "answers.others.0"}
    options = ReadOptions(fields=FieldMapping(sources))
    path = write_lines(tmp_path / "d.jsonl", line)
    [found], tally = read(path, options=options)
    assert found == Pairwise([user("Sky?")], [bot("Bleu.")], [bot("Blue.")])
    assert tally.unread == {path: {"answers": 1}}  # another answer, and the judge
    options = ReadOptions(
        fields=FieldMapping(sources | {"margin": "gap", "system": "answers.judge"})
    )
    [found], tally = read(path, options=options)
    assert found.prompt == [system("J"), user("Sky?")]
    assert tally.noted == {"records without gap (fields.margin)": 1}


def test_a_column_that_a_mapped_field_takes_the_place_of_is_counted(tmp_path: Path) -> None:
    line = PAIR | {"prompt": "Ignored?", "question": "Sky?", "margin": None, "gap": 1}
    path = write_lines(tmp_path / "d.jsonl", line)
    options = ReadOptions(fields=FieldMapping({"prompt": "question", "margin": "gap"}))
    [found], tally = read(path, options=options)
    assert found.prompt == [user("Sky?")]
    assert tally.noted == {"records whose own prompt gave way to question (fields.prompt)": 1}
    swapped = ReadOptions(fields=FieldMapping({"chosen": "rejected", "rejected": "chosen"}))
    assert read(path, options=swapped)[1].noted == {}


def test_calls_without_openais_form_get_it(tmp_path: Path) -> None:
    call = {"id": "c1", "name": "f", "arguments": {"a": 1}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    [found], _ = read(write_lines(tmp_path / "d.jsonl", PAIR | {"chosen": [answer]}))
    assert isinstance(found, Pairwise)
    function = {"name": "f", "arguments": {"a": 1}}
    assert found.chosen[0]["tool_calls"] == [{"id": "c1", "type": "function", "function": function}]


def test_a_mapped_field_that_a_reader_needs_is_missed_by_name(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [PAIR, PAIR, {"a": 1}]
    path = write_lines(tmp_path / "d.jsonl", *lines)
    options = ReadOptions(fields=FieldMapping({"prompt": "prompt"}))
    with pytest.raises(DataError, match=r"d\.jsonl:3: prompt: missing"):
        read(path, options=options)


TRANSCRIPT = "\n\nHuman: Sea?\n\nAssistant: Bleue.\n\nHuman: Sky?\n\nAssistant:"


@pytest.mark.parametrize("prompt", [TRANSCRIPT, TRANSCRIPT.strip(), f"{TRANSCRIPT} "])
def test_a_transcript_as_a_prompt_is_its_turns(tmp_path: Path, prompt: str) -> None:
    line = {"prompt": prompt, "chosen": " Bleu.", "rejected": " Blue."}
    [found], _ = read(write_lines(tmp_path / "d.jsonl", line))
    assert found == Pairwise(TURNS, [bot("Bleu.")], [bot("Blue.")])


def test_words_about_humans_are_no_transcript(tmp_path: Path) -> None:
    line = PAIR | {"prompt": "Human: what does this prefix mean?", "chosen": " Speech."}
    [found], _ = read(write_lines(tmp_path / "d.jsonl", line))
    assert isinstance(found, Pairwise)
    assert found.prompt == [user("Human: what does this prefix mean?")]
    assert found.chosen == [bot(" Speech.")]


@pytest.mark.parametrize(
    "prompt",
    [
        "<|im_start|>user\nSky?<|im_end|>\n<|im_start|>assistant\n",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nSky?<|eot_id|>",
        "<bos><start_of_turn>user\nSky?<end_of_turn>\n",
        "<s>[INST] Sky? [/INST]",
        "<|user|>\nSky?<|end|>",
        "<\uff5cUser\uff5c>Sky?<\uff5cAssistant\uff5c>",
    ],
)
def test_a_rendered_prompt_is_refused_unless_told_otherwise(tmp_path: Path, prompt: str) -> None:
    path = write_lines(tmp_path / "d.jsonl", PAIR | {"prompt": prompt})
    with pytest.raises(DataError, match=r":1: prompt: is rendered with a chat template already"):
        read(path)
    [found], tally = read(path, options=ReadOptions(templated=True))
    assert found.prompt == [user(prompt)]
    assert tally.noted == {"records with a chat template's tokens in their text": 1}


def test_special_tokens_in_texts_are_counted(tmp_path: Path) -> None:
    lines = [PAIR, PAIR | {"chosen": "Say <|im_end|>."}, PAIR | {"prompt": "What is a <b>?"}]
    found, tally = read(write_lines(tmp_path / "d.jsonl", *lines))
    assert len(found) == 3
    assert tally.noted == {"records with a chat template's tokens in their text": 1}


@pytest.mark.parametrize("line", [PAIR, TALKS])
@pytest.mark.parametrize(
    "keys",
    [
        ("score_chosen", "score_rejected"),
        ("chosen_score", "rejected_score"),
        ("chosen_rating", "rejected_rating"),
        ("rating_chosen", "rating_rejected"),
        ("chosen-rating", "rejected-rating"),
        ("chosen_reward", "rejected_reward"),
    ],
)
def test_scores_beside_a_pair_decide(
    tmp_path: Path, line: dict[str, Any], keys: tuple[str, str]
) -> None:
    lines = [
        line | dict(zip(keys, scores, strict=True))
        for scores in ((4, 1.5), (2, 2), (1, 3), (4, None))
    ]
    found, tally = read(write_lines(tmp_path / "d.jsonl", *lines))
    assert [pair.margin for pair in found if isinstance(pair, Pairwise)] == [2.5, None]
    assert tally.dropped == {"ties": 1, "chosen has the lower score": 1}
    assert tally.noted == {"pairs with a score for one answer only": 1}
    assert tally.unread == {}


def test_a_first_record_without_its_score_is_no_logged_file(tmp_path: Path) -> None:
    bare = {"prompt": "hi", "answer": "a"}
    path = write_lines(tmp_path / "d.jsonl", bare, bare | {"score": 1}, bare | {"score": 2})
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == f"{path}:1: score: missing"
    found, tally = read(path, skip_bad=True)
    assert len(found) == 2
    assert tally.bad == 1


def test_a_mixed_file_is_refused_by_name(tmp_path: Path) -> None:
    bare = {"prompt": "hi", "answer": "a"}
    path = write_lines(tmp_path / "d.jsonl", *[bare] * 70, bare | {"score": 1})
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}:71: looks like the format pointwise, and the file like logged; part the files, "
        "or name one with format"
    )
    found, tally = read(path, format_name="logged")
    assert len(found) == 71
    assert tally.unread == {path: {"score": 1}}


def test_benchmarks_and_canonical_pairs_may_be_mixed(tmp_path: Path) -> None:
    found, _ = read(write_lines(tmp_path / "d.jsonl", PAIR, PAIR | {"subset": "easy"}))
    assert [pair.subset for pair in found if isinstance(pair, Pairwise)] == [None, "easy"]


def test_false_tens_of_ultrafeedback_are_dropped(tmp_path: Path) -> None:
    def annotated(*ratings: str) -> dict[str, Any]:
        return {f"aspect {i}": {"Rating": rating} for i, rating in enumerate(ratings)}

    completions = [
        {"response": "false", "overall_score": 10, "annotations": annotated("1", "2", "1", "N/A")},
        {"response": "false too", "overall_score": 10.0, "fine-grained_score": 4.0},
        {"response": "true", "overall_score": 10, "annotations": annotated("5", "5", "4", "5")},
        {"response": "poor", "overall_score": 2, "annotations": annotated("1", "2", "1", "1")},
        {"response": "unknown", "overall_score": 10},
    ]
    line = {"instruction": "hi", "completions": completions}
    [found], tally = read(write_lines(tmp_path / "d.jsonl", line))
    assert isinstance(found, Listwise)
    assert [one.answer[0]["content"] for one in found.candidates] == ["true", "poor", "unknown"]
    name = "UltraFeedback's false tens: overall_score 10 beside ratings of at most 4"
    assert tally.dropped == {name: 2}


def test_prompts_alone_are_for_collect(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", {"prompt": "hi"})
    with pytest.raises(DataError, match=":1: prompts without answers; bon-train collect"):
        read(path)


def test_metadata_of_the_gateways_log_is_what_the_client_sent(tmp_path: Path) -> None:
    sent = {"reference": "42"}
    candidates = (log_candidate(0, "a", 1.0), log_candidate(1, "b", 0.0))
    lines = [
        log_line(*candidates, sampling={"temperature": 0.8, "metadata": metadata})
        for metadata in (sent, "text", None)
    ]
    found, _ = read(write_lines(tmp_path / "d.jsonl", *lines, log_line(*candidates, sampling={})))
    assert [one.metadata for one in found] == [sent, {}, {}, {}]


def test_a_column_may_be_mapped_to_metadata(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", PAIR | {"info": {"reference": "42"}})
    options = ReadOptions(fields=FieldMapping({"metadata": "info"}))
    [found], tally = read(path, options=options)
    assert found.metadata == {"reference": "42"}
    assert tally.unread == {}
