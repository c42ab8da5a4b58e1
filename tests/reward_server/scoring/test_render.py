from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from reward_server.errors import ContextLengthError, RenderError
from reward_server.network.sequence import Rendered
from reward_server.schema import OnOverflow
from reward_server.scoring.render import (
    Renderer,
    pair_prompt,
    strip_repeated,
)
from reward_server.scoring.room import Room
from reward_server.testing import CharacterTokenizer
from tests.reward_server.conftest import ASSISTANT, BOS, EOS, USER

QUESTION = [{"role": "user", "content": "2+2?"}]
ARGUMENTS = "completions[0].tool_calls[0].function.arguments"


def called(arguments: str) -> dict[str, Any]:
    return {"content": "", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}


def nested(levels: int) -> dict[str, Any]:
    """A call whose arguments came as objects, deeper than a template can write."""
    deep: Any = {}
    for _ in range(levels):
        deep = {"a": [deep]}
    return {"function": {"name": "f", "arguments": deep}}


@pytest.fixture(scope="module")
def chat(llama: Path) -> Renderer:
    return Renderer(AutoTokenizer.from_pretrained(llama))


@pytest.fixture(scope="module")
def pair(bert: Path) -> Renderer:
    return Renderer(AutoTokenizer.from_pretrained(bert))


def test_renders_a_finished_assistant_turn(chat: Renderer, llama: Path) -> None:
    rendered = chat.render(QUESTION, "4")
    tokenizer: Any = AutoTokenizer.from_pretrained(llama)
    assert tokenizer.decode(rendered.ids) == "<s><|user|>2+2?</s><|assistant|>4</s>"
    assert rendered.ids[:2] == (BOS, USER)
    assert rendered.ids[-1] == EOS
    assert rendered.prompt_tokens == rendered.ids.index(ASSISTANT) + 1
    assert rendered.fixed_tokens == 1


def test_agrees_with_the_tokenizers_own_template(chat: Renderer, llama: Path) -> None:
    own: Any = AutoTokenizer.from_pretrained(llama).apply_chat_template(
        [*QUESTION, {"role": "assistant", "content": "four é"}], return_dict=True
    )
    assert list(chat.render(QUESTION, "four é").ids) == own["input_ids"]


def test_a_string_and_a_message_render_alike(chat: Renderer) -> None:
    forms: list[Any] = [
        "4",
        {"role": "assistant", "content": "4"},
        {"content": "4"},
        {"content": [{"type": "text", "text": "4"}], "tool_calls": None},
    ]
    assert len(set(chat.render_all(QUESTION, forms))) == 1


def test_an_empty_answer_still_ends_its_turn(chat: Renderer) -> None:
    rendered = chat.render(QUESTION, "")
    assert rendered.ids[-2:] == (ASSISTANT, EOS)
    assert rendered.prompt_tokens == len(rendered.ids) - 1


def test_tool_arguments_reach_the_template_as_an_object(chat: Renderer, llama: Path) -> None:
    call: dict[str, Any] = {
        "id": "1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a": 1}'},
    }
    rendered = chat.render(QUESTION, {"content": None, "tool_calls": [call]})
    tokenizer: Any = AutoTokenizer.from_pretrained(llama)
    text = tokenizer.decode(rendered.ids)
    assert text.endswith('<|assistant|>{"a": 1}</s>')
    assert call["function"]["arguments"] == '{"a": 1}', "the caller's message was changed"


def test_the_system_prompt_is_dropped_on_request(llama: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(llama)
    system = {"role": "system", "content": "be brief"}
    dropping = Renderer(tokenizer, system_prompt="drop")
    keeping = Renderer(tokenizer)
    assert dropping.render([system, *QUESTION], "4") == keeping.render(QUESTION, "4")
    assert keeping.render([system, *QUESTION], "4") != keeping.render(QUESTION, "4")


DROPPING = (
    "{% for m in messages %}{% if m.role in ['user', 'assistant', 'system'] %}"
    "<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}"
)


def test_the_developers_words_are_the_systems_where_the_template_knows_no_better(
    llama: Path,
) -> None:
    """Many templates skip a role that they do not know, without a word."""
    tokenizer = AutoTokenizer.from_pretrained(llama)
    system, developer = ({"role": role, "content": "be brief"} for role in ("system", "developer"))
    for template in (None, DROPPING):
        renderer = Renderer(tokenizer, chat_template=template)
        expected = renderer.render([system, *QUESTION], "4")
        assert renderer.render([developer, *QUESTION], "4") == expected
        assert renderer.prompt([developer, *QUESTION]) == renderer.prompt([system, *QUESTION])
    dropping = Renderer(tokenizer, system_prompt="drop")
    assert dropping.render([developer, *QUESTION], "4") == dropping.render(QUESTION, "4")
    knowing = Renderer(tokenizer, chat_template=DROPPING.replace("'system'", "'developer'"))
    assert knowing.render([developer, *QUESTION], "4") != knowing.render(QUESTION, "4")


def test_a_repeated_bos_is_stripped(llama: Path) -> None:
    template = "{{ bos_token }}{{ bos_token }}{{ messages[0].content }}"
    renderer = Renderer(AutoTokenizer.from_pretrained(llama), chat_template=template)
    assert renderer.render(QUESTION, "").ids[:2] == (BOS, 5 + sorted_byte("2"))


def sorted_byte(character: str) -> int:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet()).index(character)


@pytest.mark.parametrize(
    ("messages", "completion", "param"),
    [
        ([], "a", "messages"),
        ([{"content": "x"}], "a", "messages[0].role"),
        ([{"role": 3, "content": "x"}], "a", "messages[0].role"),
        ([{"role": "user", "content": 3}], "a", "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "a", "messages[0].content"),
        ([{"role": "narrator", "content": "x"}], "a", "messages"),
        ([{"role": "user", "content": "\ud800"}], "a", "messages"),
        (QUESTION, {"role": "user", "content": "a"}, "completions[0].role"),
        (QUESTION, {"content": "", "tool_calls": [{}]}, "completions[0]"),
        (QUESTION, {"content": "", "tool_calls": "f()"}, "completions[0].tool_calls"),
        (QUESTION, called("[" * 100_000 + "]" * 100_000), ARGUMENTS),
        (QUESTION, called('{"a":' * 100_000), ARGUMENTS),
        (QUESTION, called("[" + "[]," * 150_000 + "1]"), ARGUMENTS),
        (QUESTION, {"content": "", "tool_calls": [nested(5000)]}, "completions[0]"),
    ],
)
def test_what_cannot_be_rendered_is_named(
    chat: Renderer, messages: list[dict[str, Any]], completion: Any, param: str
) -> None:
    with pytest.raises(RenderError) as caught:
        chat.render(messages, completion)
    assert caught.value.param == param


def test_without_a_template_a_pair_is_rendered(pair: Renderer, bert: Path) -> None:
    own: Any = AutoTokenizer.from_pretrained(bert)("2+2?", "four")
    rendered = pair.render(QUESTION, "four")
    assert pair.is_pair
    assert list(rendered.ids) == own["input_ids"]
    assert list(rendered.token_types or ()) == own["token_type_ids"]
    assert rendered.token_types is not None
    assert set(rendered.token_types) == {0, 1}
    assert rendered.prompt_tokens == 1 + len("2+2?")
    assert rendered.fixed_tokens == 1


def test_pairs_refuse_tools(pair: Renderer) -> None:
    with pytest.raises(RenderError):
        pair.render(QUESTION, "4", tools=[{"type": "function"}])


def test_pair_prompt_names_roles_only_where_there_are_several() -> None:
    assert pair_prompt(QUESTION) == "2+2?"
    assert pair_prompt([*QUESTION, *QUESTION]) == "user: 2+2?\nuser: 2+2?"


def test_strip_repeated_leaves_other_tokens_alone() -> None:
    assert strip_repeated((1, 1, 1, 2), 1) == (1, 2)
    assert strip_repeated((2, 2), 1) == (2, 2)
    assert strip_repeated((2, 2), None) == (2, 2)


def test_text_parts_are_joined_as_vllm_joins_them() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    renderer = Renderer(cast(Any, CharacterTokenizer()))
    joined = renderer.render([{"role": "user", "content": parts}], "c")
    assert joined == renderer.render([{"role": "user", "content": "a\nb"}], "c")


def test_an_open_turn_ends_with_the_answers_text(chat: Renderer, llama: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(llama)
    for text in ("an ans", "", " spaced ", "</s", "<|assistant|>"):
        (rendered,) = chat.render_all(QUESTION, [text], open_turn=True)
        assert tokenizer.decode(rendered.ids) == f"<s><|user|>2+2?</s><|assistant|>{text}"
    call = {"function": {"name": "f", "arguments": "{}"}}
    (closed,) = chat.render_all(QUESTION, [{"content": "", "tool_calls": [call]}], open_turn=True)
    assert closed.ids[-1] == EOS, "tool calls are whole, or they are not there"


def test_a_template_that_hides_the_answer_cannot_leave_its_turn_open(llama: Path) -> None:
    renderer = Renderer(
        AutoTokenizer.from_pretrained(llama), chat_template="{{ messages[-1].content | length }}"
    )
    renderer.render_all(QUESTION, ["a"])
    with pytest.raises(RenderError):
        renderer.render_all(QUESTION, ["a"], open_turn=True)


def test_the_prompt_ahead_is_what_candidates_begin_with(chat: Renderer, pair: Renderer) -> None:
    ids, tokens = chat.prompt(QUESTION)
    assert tokens == len(ids or ())
    for answer in ("4", "", "four"):
        rendered = chat.render(QUESTION, answer)
        assert rendered.ids[: rendered.prompt_tokens] == ids
    assert pair.prompt(QUESTION) == (None, 0)
    with pytest.raises(RenderError):
        chat.prompt([])


class Watching:
    """A tokenizer that tells the longest text that it was given."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.longest = 0

    def encode_batch_fast(self, texts: list[Any], **options: Any) -> Any:
        for text in texts:
            parts = text if isinstance(text, tuple) else (text,)
            self.longest = max(self.longest, *map(len, parts))
        return self._tokenizer.encode_batch_fast(texts, **options)


LIMIT = 40


def watched(renderer: Renderer) -> Watching:
    watching = Watching(renderer._tokeniser._backend)
    renderer._tokeniser._backend = watching
    return watching


def room(renderer: Renderer, on_overflow: OnOverflow) -> Room:
    return Room(2, LIMIT, on_overflow, renderer.bound)


@pytest.mark.parametrize("folder", ["llama", "bert"])
@pytest.mark.parametrize(
    ("prompt", "answers", "refused"),
    [
        ("p" * 100_000, ["a", "b"], "messages"),
        ("p", ["a", "b" * 100_000], "completions[1]"),
    ],
)
def test_what_cannot_fit_is_refused_before_it_is_tokenised(
    request: pytest.FixtureRequest, folder: str, prompt: str, answers: list[str], refused: str
) -> None:
    renderer = Renderer(AutoTokenizer.from_pretrained(request.getfixturevalue(folder)))
    watching = watched(renderer)
    messages = [{"role": "user", "content": prompt}]
    with pytest.raises(ContextLengthError, match="at least") as caught:
        renderer.render_all(messages, answers, room=room(renderer, "refuse"))
    assert caught.value.param == f"items[2].{refused}"
    assert watching.longest == 0
    if len(answers[-1]) > LIMIT:
        with pytest.raises(ContextLengthError, match="the answer alone is at least") as caught:
            renderer.render_all(messages, answers, room=room(renderer, "truncate_prompt"))
        assert caught.value.param == "items[2].completions[1]"
        assert watching.longest == 0
    elif folder == "llama":
        ids, tokens = renderer.prompt(messages, limit=LIMIT)
        assert ids is None
        assert LIMIT < tokens <= 100_000
        assert watching.longest == 0


@pytest.mark.parametrize("folder", ["llama", "bert"])
@settings(max_examples=60, deadline=None)
@given(
    prompt=st.text(min_size=1, max_size=40),
    times=st.integers(1, 120),
    answers=st.lists(st.text("ab \u00e9", max_size=20), min_size=1, max_size=4),
)
def test_a_prompt_that_is_cut_early_gives_the_same_tokens(
    cutting: dict[str, Renderer], folder: str, prompt: str, times: int, answers: list[str]
) -> None:
    renderer = cutting[folder]
    messages = [{"role": "user", "content": prompt * times}]

    def fitted(found: list[Rendered]) -> list[Rendered | str]:
        return [fits(one, completion) for completion, one in enumerate(found)]

    def fits(one: Rendered, completion: int) -> Rendered | str:
        try:
            return room(renderer, "truncate_prompt").fit(one, completion)
        except ContextLengthError as error:
            return error.message

    whole = fitted(renderer.render_all(messages, answers))
    cut = renderer.render_all(messages, answers, room=room(renderer, "truncate_prompt"))
    assert fitted(cut) == whole
    longest_token, bytes_per_character = len("<|assistant|>"), 4
    most = 2 * longest_token * (LIMIT + 1) * bytes_per_character
    assert max(len(one.ids) for one in cut) < most + 200


@pytest.fixture(scope="module")
def cutting(llama: Path, bert: Path) -> dict[str, Renderer]:
    folders = {"llama": llama, "bert": bert}
    return {name: Renderer(AutoTokenizer.from_pretrained(f)) for name, f in folders.items()}


def test_nobody_renders_for_a_caller_that_left(chat: Renderer) -> None:
    class LeftError(Exception):
        pass

    steps = 0

    def still_wanted() -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise LeftError

    with pytest.raises(LeftError):
        chat.render_all(QUESTION, ["a", "b", "c", "d"], still_wanted=still_wanted)
    assert steps == 3
