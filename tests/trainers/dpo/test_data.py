from __future__ import annotations

import json
from pathlib import Path

import pytest

from reward_server.scoring.render import Renderer
from tests.trainers.small import policy_path
from trainers.base.data import Pair, read_records
from trainers.base.errors import DataError, ModelError
from trainers.demo.tokenizer import build_tokenizer
from trainers.dpo.data import EQUAL, MERGED, read_pairs, tokenise_pair
from trainers.policy.rendering import prompt_ids

ASK = [{"role": "user", "content": "name two toys for a bear"}]


def write(path: Path, *answers: tuple[str, str]) -> Path:
    records = [
        {
            "prompt": ASK,
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        for chosen, rejected in answers
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_prompt_and_answer_are_the_whole_as_served(world: Path) -> None:
    tokenizer = build_tokenizer()
    for record in read_records(Pair, world / "pairs.jsonl"):
        row = tokenise_pair(tokenizer, "m", record)
        assert row is not None
        assert row["prompt_ids"] == prompt_ids(tokenizer, record.asked)
        for side, answer in (("chosen", record.chosen), ("rejected", record.rejected)):
            whole = Renderer(tokenizer).render(record.prompt, answer[0]).ids
            assert row["prompt_ids"] + row[f"{side}_ids"] == list(whole)


def test_what_a_template_writes_after_the_end_is_not_learnt() -> None:
    tokenizer = build_tokenizer()
    template = str(tokenizer.chat_template)
    tokenizer.chat_template = template.replace("<eos>{% endgen", "<eos>\n\n{% endgen")
    [message] = [{"role": "assistant", "content": "Try ball and kite."}]
    pair = Pair.model_validate(
        {"prompt": ASK, "chosen": [message], "rejected": [{**message, "content": "Ugh."}]}
    )
    whole = Renderer(tokenizer).render(ASK, message).ids
    row = tokenise_pair(tokenizer, "m", pair)
    assert row is not None
    assert tokenizer.decode(row["chosen_ids"]) == "Try ball and kite.<eos>"
    assert len(whole) > len(row["prompt_ids"]) + len(row["chosen_ids"])


def test_what_is_dropped_is_counted(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    path = write(
        tmp_path / "p.jsonl",
        ("Try ball and kite.", "Ugh."),
        ("Try ball and kite. " * 8, "Ugh."),
    )
    data = read_pairs(path, tokenizer, "m", max_length=30)
    assert (len(data.rows), *data.dropped.values()) == (1, 1, 0, 0)
    row = data.rows[0]
    assert row["length"] == len(row["prompt_ids"]) + len(row["chosen_ids"])


def test_answers_that_the_template_makes_equal_are_counted(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    template = str(tokenizer.chat_template)
    tokenizer.chat_template = template.replace(
        "message['content'] or ''", "message['content']|trim"
    )
    path = write(tmp_path / "p.jsonl", ("Ugh.", "Ugh. "), ("Ugh.", "Okay."))
    data = read_pairs(path, tokenizer, "m", max_length=100)
    assert (len(data.rows), data.dropped[EQUAL]) == (1, 1)


def test_a_token_across_the_boundary_is_counted(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    # The prompt ends with the first letters of a word that the answer completes.
    template = str(tokenizer.chat_template)
    tokenizer.chat_template = template.replace("<|assistant|>", "<|assistant|>Tr")
    path = write(tmp_path / "p.jsonl", ("y ball.", "y kite."), (" Okay.", " Ugh."))
    data = read_pairs(path, tokenizer, "m", max_length=100)
    assert (len(data.rows), data.dropped[MERGED]) == (1, 1)


def test_a_file_of_which_nothing_is_left(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", ("Try ball and kite.", "Ugh."))
    with pytest.raises(DataError, match=r"p\.jsonl: no pair is left: 1 exceed max_length 3,"):
        read_pairs(path, build_tokenizer(), "m", max_length=3)


def test_a_template_that_does_not_end_answers_is_refused(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    template = str(tokenizer.chat_template)
    tokenizer.chat_template = template.replace("<eos>{% endgen", "{% endgen")
    path = write(tmp_path / "p.jsonl", ("Try ball and kite.", "Ugh."))
    with pytest.raises(ModelError, match="m: the chat template does not close an answer with"):
        read_pairs(path, tokenizer, "m", max_length=100)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"chosen": [], "rejected": []}, "chosen: List should have at least 1 item"),
        (
            {
                "chosen": [{"role": "assistant", "content": "a"}],
                "rejected": [{"role": "assistant", "content": "a"}],
            },
            "chosen and rejected are equal",
        ),
        (
            {
                "chosen": [{"role": "assistant", "content": "a"}],
                "rejected": [{"role": "user", "content": "b"}],
            },
            "rejected: one message of the assistant is expected",
        ),
        (
            {
                "chosen": [{"role": "assistant", "content": "a"}],
                "rejected": [{"role": "assistant", "content": text} for text in "bc"],
            },
            "rejected: one message of the assistant is expected. In several, a tool's words stand",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, answers: dict[str, object], reason: str) -> None:
    path = write(tmp_path / "p.jsonl", ("Okay.", "Ugh."))
    with path.open("a") as out:
        out.write(json.dumps({"prompt": ASK, **answers}) + "\n")
    with pytest.raises(DataError) as error:
        read_pairs(path, build_tokenizer(), policy_path().name, max_length=100)
    assert f"p.jsonl:2: {reason}" in str(error.value)
