from __future__ import annotations

from typing import Any

import pytest

from bon_gateway.backends.policy.embedded.loading import LoadedModel
from bon_gateway.backends.policy.embedded.prompt import prompt_ids
from bon_gateway.errors import PolicyRefusedError
from tests.bon_gateway.backends.policy.embedded.kit import ASSISTANT, EOS, USER, ids_of


def test_messages_become_the_templates_tokens(loaded: LoadedModel) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]},
    ]
    a, b, cd = (ids_of(loaded, text) for text in ("a", "b", "c\nd"))
    assert prompt_ids(loaded.tokenizer, messages, {}) == [
        USER, *a, EOS, ASSISTANT, *b, EOS, USER, *cd, EOS, ASSISTANT,
    ]  # fmt: skip


def test_template_kwargs_reach_the_template(loaded: LoadedModel) -> None:
    messages = [{"role": "user", "content": "a"}]
    ids = prompt_ids(loaded.tokenizer, messages, {"shout": "hey"})
    assert ids[-len(ids_of(loaded, "hey")) :] == ids_of(loaded, "hey")


def test_the_developers_words_are_the_systems(loaded: LoadedModel) -> None:
    """The template of this model has no system message; others drop what they do not know."""
    with pytest.raises(PolicyRefusedError, match="unknown role system"):
        prompt_ids(loaded.tokenizer, [{"role": "developer", "content": "x"}], {})


def test_absent_content_is_empty(loaded: LoadedModel) -> None:
    messages = [{"role": "assistant", "content": None}]
    assert prompt_ids(loaded.tokenizer, messages, {}) == [ASSISTANT, EOS, ASSISTANT]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "[1].content"),
        ({"role": "user", "content": [{"type": "text", "text": 1}]}, "[1].content"),
        ({"role": "user", "content": 3}, "[1].content"),
        ({"content": "x"}, "[1].role"),
        ({"role": "user", "content": "", "tool_calls": "x"}, "[1].tool_calls"),
        ({"role": "system", "content": "x"}, ""),
        ({"role": "user", "content": "\ud800"}, ""),
    ],
)
def test_what_cannot_be_rendered_is_refused_where_it_stands(
    loaded: LoadedModel, message: dict[str, Any], param: str
) -> None:
    messages = [{"role": "user", "content": "fine"}, message]
    with pytest.raises(PolicyRefusedError) as caught:
        prompt_ids(loaded.tokenizer, messages, {})
    assert (caught.value.param, caught.value.status) == (f"messages{param}", 400)


def test_the_templates_own_words_reach_the_client(loaded: LoadedModel) -> None:
    with pytest.raises(PolicyRefusedError, match="unknown role system"):
        prompt_ids(loaded.tokenizer, [{"role": "system", "content": "x"}], {})


@pytest.mark.parametrize("name", ["tokenize", "chat_template", "tools", "return_dict"])
def test_template_kwargs_cannot_change_how_it_is_rendered(loaded: LoadedModel, name: str) -> None:
    with pytest.raises(PolicyRefusedError) as caught:
        prompt_ids(loaded.tokenizer, [{"role": "user", "content": "x"}], {name: False})
    assert caught.value.param == "chat_template_kwargs"


def test_tool_arguments_are_decoded_for_the_template(loaded: LoadedModel) -> None:
    class Spy:
        chat_template = None

        def apply_chat_template(self, turns: list[Any], **_: Any) -> str:
            return repr(turns[0]["tool_calls"][0]["function"]["arguments"])

        def __call__(self, text: str, **_: Any) -> dict[str, Any]:
            return {"input_ids": [text]}

    call = {"id": "1", "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert prompt_ids(Spy(), [message], {}) == ["{'a': 1}"]  # type: ignore[arg-type,comparison-overlap]
