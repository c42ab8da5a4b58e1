"""Answers behind a prompt that opens the thinking: what is learnt is what the policy writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.trainers.parity.families import BY_NAME, VARIANTS, Family, tokenizer_of, write_policy
from tests.trainers.preferences.helpers import bot, user, write_lines
from tests.trainers.test_tools import run
from trainers.base.data import Conversation, Message
from trainers.policy.answered import NO_THOUGHT, answered_ids
from trainers.policy.assistant_mask import last_turn, masked_ids

OPENED: dict[str, Family] = {family.name: family for family in VARIANTS}
R1, V3, QWEN = (
    OPENED[name] for name in ("deepseek r1, opened", "deepseek v3.1, opened", "qwen 3, opened")
)
ASKED = Message(role="user", content="Sky?")
THOUGHT = Message(role="assistant", content="Blue.", reasoning_content="Light scatters.")


def written(family: Family, answer: Message) -> str:
    """What the policy is taught to write behind its prompt, with all that follows the answer."""
    tokenizer = tokenizer_of(family)
    found = answered_ids(tokenizer, Conversation([ASKED, answer]), "here")
    assert found.whole[: len(found.prompt)] == found.prompt
    assert str(tokenizer.decode(found.prompt)).rstrip().endswith("<think>")
    return str(tokenizer.decode(found.whole[len(found.prompt) :]))


@pytest.mark.parametrize(
    "answer",
    [
        THOUGHT,
        # As vLLM's parser of R1 leaves them: with the line breaks around the mark.
        Message(role="assistant", content="\n\nBlue.", reasoning_content="Light scatters.\n"),
        # As an engine without a parser serves them, and as public data holds them.
        Message(role="assistant", content="Light scatters.\n</think>\n\nBlue."),
        Message(role="assistant", content="<think>\nLight scatters.\n</think>\n\nBlue."),
    ],
)
def test_thoughts_mark_answer_and_end_follow_the_prompt(answer: Message) -> None:
    assert written(R1, answer) == "Light scatters.\n</think>\n\nBlue.<end>"


def test_an_answer_without_a_thought_closes_the_thinking_first() -> None:
    bare = Message(role="assistant", content="Blue.")
    assert written(R1, bare) == "</think>\n\nBlue.<end>"
    assert written(V3, bare) == "</think>Blue.<end>"
    assert written(QWEN, bare) == "\n</think>\n\nBlue.<|im_end|>\n"


def test_marks_stand_as_the_template_writes_them() -> None:
    assert written(V3, THOUGHT) == "Light scatters.</think>Blue.<end>"
    assert written(QWEN, THOUGHT) == "Light scatters.\n</think>\n\nBlue.<|im_end|>\n"


def test_a_prompt_that_opens_nothing_is_as_before() -> None:
    for name in ("deepseek r1", "qwen 3"):
        tokenizer = tokenizer_of(BY_NAME[name])
        found = answered_ids(tokenizer, Conversation([ASKED, THOUGHT]), "here")
        text = str(tokenizer.decode(found.whole[len(found.prompt) :]))
        assert text.startswith("<think>\nLight scatters.\n</think>\n\nBlue.")


def test_line_breaks_that_meet_at_the_prompts_end_stay_apart() -> None:
    """The policy is asked behind one line break, and never behind the token for two."""
    special = ("<pad>", *QWEN.special)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: place for place, letter in enumerate([*letters, "ĊĊ"])}
    merging = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ċ", "Ċ")]))
    merging.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    merging.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=merging, eos_token=QWEN.eos)
    tokenizer.chat_template = QWEN.template
    bare = Message(role="assistant", content="Blue.")
    found = answered_ids(tokenizer, Conversation([ASKED, bare]), "here")
    assert found.whole[: len(found.prompt)] == found.prompt
    assert found.whole[len(found.prompt)] == vocabulary["Ċ"]


def test_the_mask_of_one_turn_is_the_answer_with_its_thoughts() -> None:
    tokenizer = tokenizer_of(R1)
    shown = Conversation([ASKED, THOUGHT])
    ids, mask = masked_ids(tokenizer, shown, "here")
    assert (ids, mask) == last_turn(tokenizer, shown, "here")
    learnt = [token for token, counts in zip(ids, mask, strict=True) if counts]
    assert tokenizer.decode(learnt) == "Light scatters.\n</think>\n\nBlue.<end>"


def test_marks_of_a_template_do_not_hide_what_the_prompt_opens() -> None:
    tokenizer: Any = tokenizer_of(R1)
    tokenizer.chat_template = str(R1.template).replace(
        "{{- '<\uff5cAssistant\uff5c>' + m.content.split('</think>')[-1] + eos_token }}",
        "{{- '<\uff5cAssistant\uff5c>' }}{% generation %}{{ m.content + eos_token }}"
        "{% endgeneration %}",
    )
    assert "{% generation %}" in tokenizer.chat_template
    ids, mask = masked_ids(tokenizer, Conversation([ASKED, THOUGHT]), "here")
    learnt = [token for token, counts in zip(ids, mask, strict=True) if counts]
    assert tokenizer.decode(learnt) == "Light scatters.\n</think>\n\nBlue.<end>"


@pytest.mark.parametrize("command", ["sft", "dpo"])
def test_answers_without_a_thought_are_counted(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_policy(R1, tmp_path / "policy")
    lines = [
        {
            "prompt": [user("Sky?")],
            "messages": [user("Sky?"), answer],
            "chosen": [answer],
            "rejected": [{**bot("Green?"), "reasoning_content": "Or not."}],
        }
        for answer in (bot("Blue."), dict(THOUGHT))
    ]
    data = write_lines(tmp_path / "data.jsonl", *lines)
    settings = {"model": str(tmp_path / "policy"), "train": str(data)}
    assert run(command, tmp_path, "--dry-run", **settings) == 0
    shown = capsys.readouterr().out
    assert f"{NO_THOUGHT}: 1" in shown
    assert "</think>\n\nBlue.<end>" in shown
    assert "merged with the prompt: 0" in shown or command == "sft"
