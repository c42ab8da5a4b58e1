"""The assistant's tokens, by the template's marks and without them."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from tests.trainers.configs.conftest import make_tokenizer
from trainers.base.data import Conversation, Message
from trainers.base.errors import DataError, ModelError
from trainers.demo.tokenizer import build_tokenizer
from trainers.policy.assistant_mask import masked_ids

TURNS = [
    Message(role="user", content="amber?"),
    Message(role="assistant", content="birch cedar."),
    Message(role="user", content="delta?"),
    Message(role="assistant", content="ember."),
]
CALL = {
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": "fjord"}'},
}


def learnt(tokenizer: PreTrainedTokenizerFast, turns: list[Message]) -> str:
    ids, mask = masked_ids(tokenizer, Conversation(turns), "data.jsonl:7")
    text = tokenizer.apply_chat_template(turns, tokenize=False)  # type: ignore[arg-type]
    assert tokenizer.decode(ids) == text
    return str(tokenizer.decode([token for token, counts in zip(ids, mask, strict=True) if counts]))


def test_an_unmarked_template_gives_every_turn_with_its_end() -> None:
    tokenizer = make_tokenizer()
    assert "{% generation" not in str(tokenizer.chat_template)
    assert learnt(tokenizer, TURNS) == "birch cedar.<|im_end|>ember.<|im_end|>"


def test_marks_and_their_absence_say_the_same() -> None:
    marked, bare = build_tokenizer(), build_tokenizer()
    template = str(marked.chat_template)
    bare.chat_template = template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    assert bare.chat_template != template
    turns = [
        Message(role="user", content="name two toys for a bear"),
        Message(role="assistant", content="Try ball and kite."),
        Message(role="user", content="Name two snacks"),
        Message(role="assistant", content="Ugh."),
    ]
    assert masked_ids(bare, Conversation(turns), "here") == masked_ids(
        marked, Conversation(turns), "here"
    )


def test_tool_calls_are_written_as_a_server_writes_them() -> None:
    turns = [
        TURNS[0],
        Message(role="assistant", content="", tool_calls=[CALL]),
        Message(role="tool", content="found"),
        TURNS[1],
    ]
    tokenizer = make_tokenizer()
    ids, mask = masked_ids(tokenizer, Conversation(turns), "here")
    text = tokenizer.decode([token for token, counts in zip(ids, mask, strict=True) if counts])
    assert '{"name": "look", "arguments": {"at": "fjord"}}' in text
    assert "found" not in text


def test_a_template_that_writes_earlier_turns_otherwise_is_named_with_the_line() -> None:
    """As Qwen3's, which leaves the thoughts of earlier turns out."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role + (' *' if loop.last and m.role == 'assistant' else ' ') "
        "+ m.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant *' }}{% endif %}"
    )
    with pytest.raises(DataError, match=r"^data.jsonl:7: messages.1: the chat template does not"):
        masked_ids(tokenizer, Conversation(TURNS), "data.jsonl:7")


def test_what_a_template_refuses_is_named_with_the_line() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('roles must\\nalternate') }}"
    with pytest.raises(DataError) as error:
        masked_ids(tokenizer, Conversation(TURNS), "data.jsonl:7")
    assert str(error.value) == (
        "data.jsonl:7: the chat template refuses these messages: roles must alternate"
    )


def test_marks_that_no_conversation_meets_are_refused() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'model' %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    with pytest.raises(ModelError, match="marks no token as the assistant's"):
        masked_ids(tokenizer, Conversation(TURNS), "data.jsonl:7")
