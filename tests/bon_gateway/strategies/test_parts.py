"""Content that a reward model cannot read: refused before anything is drawn, or as it is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bon_gateway.errors import BadRequestError
from bon_gateway.protocols import RewardBackend, Trace
from bon_gateway.strategies.best_of_n import BestOfN, BestOfNSettings
from bon_gateway.strategies.first_k import FirstK, FirstKSettings
from bon_gateway.strategies.single import Single, SingleSettings
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest, Completion, Message, NonTextParts, Selection
from tests.bon_gateway.strategies.readers import READERS, at_vllm

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
VIDEO = {"type": "video_url", "video_url": {"url": "https://example.org/v.mp4"}}
FILE = {"type": "file", "file": {"file_id": "f"}}
UNKNOWN = {"type": "hologram", "hologram": {}}
UNTYPED = {"image_url": "https://example.org/i.png"}
BROKEN: dict[str, Any] = {"type": ["no", "text"], "text": None}
NOT_TEXT = [IMAGE, AUDIO, VIDEO, FILE, UNKNOWN, UNTYPED, {"type": "image_pil"}, {}]

REFUSAL = {"type": "refusal", "refusal": "I will not."}
TEXTS: list[tuple[Any, str]] = [
    (REFUSAL, "I will not."),
    ("bare text", "bare text"),
    ({"type": "text", "text": "plain"}, "plain"),
    ({"type": "input_text", "text": "of a response"}, "of a response"),
    ({"type": "output_text", "text": "of an answer"}, "of an answer"),
    ({"text": "untyped"}, "untyped"),
]
THOUGHT = {"type": "thinking", "thinking": "hm"}
ANSWER = {"role": "assistant", "content": "yes"}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def asked(*messages: Message, **sampling: Any) -> ChatRequest:
    return ChatRequest(messages, sampling, None, 1, "request")


async def run(
    request: ChatRequest, reward: RewardBackend, *outcomes: Completion, n: int | None = None
) -> Selection:
    drawn = outcomes or (completion("yes"),)
    policy = FakePolicy({i: Act((outcome,)) for i, outcome in enumerate(drawn)})
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=n or len(drawn)))
    return await strategy.run(request, policy, reward, Trace())


def text_read(turn: Message) -> str:
    """As a chat template that takes text alone gets it."""
    content = turn["content"]
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(part["text"] for part in content)


@pytest.mark.parametrize("part", NOT_TEXT)
@pytest.mark.parametrize("role", ["system", "developer", "user", "tool", "assistant"])
async def test_by_default_it_is_refused_before_anything_is_drawn(
    part: dict[str, Any], role: str
) -> None:
    policy = FakePolicy()
    strategies = (
        BestOfN(BestOfNSettings(type="best_of_n", n=4)),
        FirstK(FirstKSettings(type="first_k", n=2)),
    )
    request = asked(
        {"role": "user", "content": "hi"}, {"role": role, "content": [text("see"), part]},
        {"role": "user", "content": "so?"},
    )  # fmt: skip
    for strategy in strategies:
        reward = FakeReward(announces=True)
        with pytest.raises(BadRequestError, match="non_text_parts") as caught:
            await strategy.run(request, policy, reward, Trace())
        assert caught.value.param == "messages[1].content[1]"
        assert caught.value.code == "unreadable_part"
        assert (reward.calls, reward.announced) == ([], [])
    assert not policy.attempts


async def test_single_draws_from_it_as_ever() -> None:
    request = asked({"role": "user", "content": [text("what is this?"), IMAGE]})
    policy = FakePolicy()
    strategy = Single(SingleSettings(type="single"))
    selection = await strategy.run(request, policy, FakeReward(), Trace())
    assert selection.degraded == ()
    assert policy.requests == [request]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("setting", "words"),
    [("leave_out", ["see", "well"]), ("placeholder", ["see", None, "well"])],
)
@pytest.mark.parametrize(
    ("part", "placeholder"),
    [
        (IMAGE, "[image]"),
        (AUDIO, "[audio]"),
        (VIDEO, "[video]"),
        (FILE, "[file]"),
        (UNKNOWN, "[attachment]"),
        (UNTYPED, "[image]"),
        (BROKEN, "[attachment]"),
    ],
)
async def test_every_reward_model_is_spared_what_it_cannot_read(
    reader: Callable[..., Any],
    setting: NonTextParts,
    words: Sequence[str | None],
    part: Any,
    placeholder: str,
) -> None:
    turns = [
        {"role": role, "content": [text("see"), part, text("well")]}
        for role in ("system", "user", "tool")
    ]
    async with reader(non_text_parts=setting) as (reward, read):
        selection = await run(asked(*turns), reward)
    assert selection.degraded == ()
    expected = "\n".join(word or placeholder for word in words)
    [seen] = read()
    assert [text_read(turn) for turn in seen] == [expected] * 3 + ["yes"]
    assert [turn["role"] for turn in seen] == ["system", "user", "tool", "assistant"]


async def test_a_turn_of_which_nothing_is_left_stays_a_turn() -> None:
    reward = FakeReward(non_text_parts="leave_out")
    await run(asked({"role": "user", "content": [IMAGE]}), reward)
    assert reward.conversations == [[{"role": "user", "content": ""}]]


async def test_vllm_may_be_sent_what_its_model_can_read() -> None:
    messages = [{"role": "user", "content": [text("see"), IMAGE, "bare", REFUSAL]}]
    async with at_vllm(non_text_parts="send") as (reward, read):
        await run(asked(*messages), reward)
    assert read() == [[*messages, ANSWER]]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("part", "words"), TEXTS)
async def test_what_is_text_is_read_as_text(
    reader: Callable[..., Any], part: Any, words: str
) -> None:
    message = {"role": "assistant", "content": [part, text("then")], "name": "Ann"}
    async with reader() as (reward, read):
        await run(asked(message, {"role": "user", "content": "go on"}), reward)
    [seen] = read()
    assert text_read(seen[0]) == f"{words}\nthen"
    assert seen[0]["name"] == "Ann"


@pytest.mark.parametrize("reader", READERS)
async def test_what_an_assistant_thought_is_not_read(reader: Callable[..., Any]) -> None:
    """Reward models are trained without it. A user has no thoughts but what is said."""
    messages = [
        {"role": role, "content": [THOUGHT, text("then")]} for role in ("user", "assistant", "user")
    ]
    async with reader() as (reward, read):
        await run(asked(*messages), reward)
    [seen] = read()
    assert [text_read(message) for message in seen[:3]] == ["hm\nthen", "then", "hm\nthen"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"content": None, "refusal": "I will not."}, "I will not."),
        ({"refusal": "I will not."}, "I will not."),
        ({"content": "Well.", "refusal": "I will not."}, "Well."),
        ({"content": None, "audio": {"id": "a", "transcript": "Hello."}}, "Hello."),
    ],
)
async def test_what_an_assistant_said_otherwise_is_read(said: Message, words: str) -> None:
    reward = FakeReward()
    await run(asked({"role": "assistant", **said}, {"role": "user", "content": "go on"}), reward)
    assert reward.conversations[0][0]["content"] == words


async def test_an_answer_of_which_only_the_sound_is_known_cannot_be_read() -> None:
    heard = {"role": "assistant", "content": None, "audio": {"id": "a"}}
    request = asked(heard, {"role": "user", "content": "go on"})
    with pytest.raises(BadRequestError) as caught:
        await run(request, FakeReward())
    assert caught.value.param == "messages[0].audio"
    reward = FakeReward(non_text_parts="placeholder")
    await run(request, reward)
    assert reward.conversations[0][0]["content"] == "[audio]"


async def test_candidates_are_judged_by_what_they_say() -> None:
    answers = (
        completion(None, refusal="No. 7"),
        completion(None, audio={"id": "a", "data": "AAAA", "transcript": "Yes. 9"}),
        completion("5"),
    )
    reward = FakeReward()
    selection = await run(asked({"role": "user", "content": "?"}), reward, *answers)
    assert [c.reward for c in selection.candidates] == [7.0, 9.0, 5.0]
    assert [answer["content"] for answer in reward.calls[0]] == ["No. 7", "Yes. 9", "5"]


async def test_calls_without_content_are_left_as_they_are() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = (
        {"role": "user", "content": "?", "name": "Bob"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": [text("one"), text("two")]},
    )
    reward = FakeReward()
    await run(asked(*messages), reward)
    assert reward.conversations == [messages]


PARTS = some.lists(
    some.sampled_from([*(part for part, _ in TEXTS), THOUGHT, *NOT_TEXT, BROKEN, {"type": "text"}])
    | some.dictionaries(some.text(max_size=4), some.none() | some.text() | some.integers())
    | some.text(),
    max_size=4,
)
MESSAGES = some.lists(
    some.builds(
        lambda role, content, more: {"role": role, "content": content, **more},
        some.sampled_from(["system", "developer", "user", "assistant", "tool", "odd"]),
        some.none() | some.text(max_size=5) | PARTS,
        some.dictionaries(
            some.sampled_from(["refusal", "audio", "name"]),
            some.none()
            | some.text()
            | some.integers()
            | some.dictionaries(some.text(), some.text()),
        ),
    ),
    min_size=1,
    max_size=3,
)


@given(messages=MESSAGES, setting=some.sampled_from(get_args(NonTextParts)))
def test_a_reward_model_gets_text_or_nothing_is_drawn(
    messages: list[Message], setting: NonTextParts
) -> None:
    reward = FakeReward(non_text_parts=setting)
    if setting == "send":
        asyncio.run(run(asked(*messages), reward))
        assert reward.conversations == [tuple(messages)]
        return
    with suppress(BadRequestError):
        asyncio.run(run(asked(*messages), reward))
    assert reward.conversations or setting == "refuse"
    for conversation in reward.conversations:
        assert [m["role"] for m in conversation] == [m["role"] for m in messages]
        for turn in conversation:
            content = turn["content"]
            parts = [] if content is None or isinstance(content, str) else content
            assert all(p["type"] == "text" and isinstance(p["text"], str) for p in parts)
