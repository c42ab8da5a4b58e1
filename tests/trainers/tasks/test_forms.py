"""Instructions: the form has to be kept, and something has to be said in it."""

from __future__ import annotations

import pytest

from trainers.tasks.catalogue import catalogue
from trainers.tasks.problem import AnswerCheck


def check(prompt: str) -> AnswerCheck:
    return catalogue()[prompt].problem.check


[LIST] = [
    one.problem.check
    for one in catalogue().values()
    if one.problem.prompt.startswith("List exactly ")
    and one.task == "lists"
    and one.problem.fact == "fruit 3"
]
TWO = check("Write exactly two sentences about the moon.")
BLUE = check('Write one sentence about the sea that contains the word "blue".')
NO_THE = check('Write one or two sentences about the sea. Do not use the word "the" anywhere.')
END = check('Write one sentence about dogs, then end with exactly: "The end."')
GERMAN = check("Write one sentence about bread in German.")


@pytest.mark.parametrize(
    "answer",
    ["apple\npear\nfig", "1. Apple\n2. Pears\n3. Fig", "Three fruits:\n- apple\n- lime\n- kiwi\n"],
)  # fmt: skip
def test_a_list(answer: str) -> None:
    assert LIST(answer)


@pytest.mark.parametrize(
    "answer",
    ["apple, pear, fig", "apple\npear", "apple\npear\nfig\nlime", "apple\napple\npear",
     "apple\napples\npear", "apple\ndog\nfig", "-\n-\n-", "apple pear\nfig\nlime",
     "apple\npear\nfig\nThese are three fruits.", "apple or pear\nfig\nlime", ""],
)  # fmt: skip
def test_no_list_of_three_fruits(answer: str) -> None:
    assert not LIST(answer)


def test_two_sentences() -> None:
    assert TWO("The moon is far away. It shines at night over the hills.")
    for wrong in (
        "The moon is far away.",
        "The moon is far away. The moon is far away.",
        "Moon. Moon.",
        "The sun is far away. It shines in the day over us.",
        "The moon is far away. It shines at night",
        "moon moon moon moon moon. moon moon moon moon moon.",
        "I like the moon. It is far away. It shines at night.",
        "Write exactly two sentences about the moon. I like the moon very much.",
    ):
        assert not TWO(wrong), wrong


def test_words_to_use_and_to_avoid() -> None:
    assert BLUE("I love how the sea is blue in summer.")
    assert not BLUE("I love how the sea looks in summer.")
    assert not BLUE("blue")
    assert not BLUE("Blue blue sea blue blue.")
    assert NO_THE("My sea is wide, and other seas are not.")
    assert not NO_THE("The sea is wide and deep.")
    assert not NO_THE("")


def test_an_end_phrase_is_exact_and_alone_is_nothing() -> None:
    assert END("My dog likes to run in parks. The end.")
    assert not END("My dog likes to run in parks.")
    assert not END("My dog likes to run in parks. the end")
    assert not END("The end.")


def test_a_language() -> None:
    assert GERMAN("Das Brot ist frisch und der Bäcker schläft.")
    assert not GERMAN("The bread is fresh and warm today.")
    assert not GERMAN("The word for it is Brot, and this is a German sentence.")


def test_json() -> None:
    [one] = [
        one.problem
        for one in catalogue().values()
        if one.problem.prompt.startswith("Anna is ") and '"age"' in one.problem.prompt
    ][:1]
    right = one.example
    assert one.check(right)
    assert one.check(f"```json\n{right}\n```")
    age = right.rpartition(": ")[2].rstrip("}")
    for wrong in (
        right.replace(age, f'"{age}"'),
        right.replace("Anna", "Ben"),
        right.replace("}", ', "city": "Rome"}'),
        right.replace("}", f', "age": {age}}}'),
        right.replace("}", ', "age": 1}'),
        f"Here it is: {right}",
        f"[{right}]",
        "{}",
        "",
        "[" * 5000,
    ):
        assert not one.check(wrong), wrong


def test_capital_letters() -> None:
    [one] = [
        one.problem
        for one in catalogue().values()
        if one.problem.prompt.endswith("in capital letters.")
    ][:1]
    assert one.check(one.example)
    assert not one.check(one.example.lower())
    assert not one.check(one.example.title())
    assert not one.check("A B C")
