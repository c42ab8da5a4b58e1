"""An answer that the client began itself: the reward model reads it as one turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bon_gateway.protocols import RewardBackend, Trace
from bon_gateway.strategies.best_of_n import BestOfN, BestOfNSettings
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.thinking import ThinkingSettings, after_thinking
from bon_gateway.types import CandidateStatus, ChatRequest, Message, Selection
from tests.bon_gateway.strategies.readers import READERS

QUESTION = {"role": "user", "content": "The capital of France?"}
TAGS = ThinkingSettings()


def continued(opening: Message, *before: Message, **sampling: Any) -> ChatRequest:
    sampling = {"continue_final_message": True, "add_generation_prompt": False, **sampling}
    return ChatRequest([*before, opening], sampling, None, 1, "request")


def opening(content: Any, **fields: Any) -> Message:
    return {"role": "assistant", "content": content, **fields}


async def run(
    request: ChatRequest,
    reward: RewardBackend,
    contents: Sequence[Any],
    thinking: ThinkingSettings | None = None,
) -> Selection:
    outcomes = [c if not isinstance(c, str) else completion(c) for c in contents]
    policy = FakePolicy({i: Act((o,)) for i, o in enumerate(outcomes)}, thinking=thinking)
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=len(contents)))
    return await strategy.run(request, policy, reward, Trace())


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("echo", "contents"),
    [(False, ("Paris.", "Lyon.")), (True, ("It is Paris.", "It is Lyon."))],
)
async def test_every_reward_model_reads_one_turn(
    reader: Callable[..., Any], echo: bool, contents: Sequence[str]
) -> None:
    request = continued(opening("It is "), QUESTION, echo=echo)
    async with reader() as (reward, read):
        await run(request, reward, contents)
    assert sorted(read(), key=str) == [
        [QUESTION, {"role": "assistant", "content": f"It is {city}."}] for city in ("Lyon", "Paris")
    ]


@pytest.mark.parametrize("reader", READERS)
async def test_what_echo_repeats_alone_is_one_turn_too(reader: Callable[..., Any]) -> None:
    request = continued(
        opening("It is "), QUESTION, echo=True,
        continue_final_message=False, add_generation_prompt=True,
    )  # fmt: skip
    async with reader() as (reward, read):
        await run(request, reward, ["It is Paris."])
    assert read() == [[QUESTION, {"role": "assistant", "content": "It is Paris."}]]


async def test_the_better_whole_wins() -> None:
    """The continuation alone says nothing; the reward model sees what it makes of the opening."""
    reward = FakeReward(rule=lambda message: float(message["content"] == "1 + 1 = 2"))
    request = continued(opening("1 + 1"), QUESTION)
    selection = await run(request, reward, [" = 3", " = 2", "2"])
    assert (selection.winners, selection.winner.reward) == ((1,), 1.0)
    assert selection.winner.completion is not None
    assert selection.winner.completion.message["content"] == " = 2", "the client's is untouched"


async def test_the_announced_conversation_is_the_one_that_is_scored() -> None:
    reward = FakeReward(announces=True)
    await run(continued(opening("It is "), QUESTION), reward, ["Paris."])
    assert reward.announced == reward.conversations == [[QUESTION]]


@pytest.mark.parametrize(
    "request_",
    [
        ChatRequest([QUESTION, opening("It is ")], {}, None, 1, "request"),
        continued(opening("It is "), QUESTION, continue_final_message=False),
        ChatRequest([QUESTION], {"echo": True}, None, 1, "request"),
    ],
)
async def test_a_turn_that_is_not_continued_stays_one(request_: ChatRequest) -> None:
    reward = FakeReward()
    await run(request_, reward, ["Paris."])
    assert reward.conversations == [request_.messages]
    assert reward.calls == [[{"role": "assistant", "content": "Paris."}]]


async def test_calls_and_names_of_both_halves_are_kept() -> None:
    calls = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for name in ("f", "g")
    ]
    begun = opening("I call ", name="Ann", tool_calls=calls[:1], reasoning="hidden")
    reward = FakeReward()
    called = completion("both", tool_calls=calls[1:])
    await run(continued(begun, QUESTION), reward, [called])
    assert reward.calls == [
        [{"role": "assistant", "content": "I call both", "name": "Ann", "tool_calls": calls}]
    ]


@given(
    answer=some.text(alphabet="ab <>/\n{}é", max_size=30)
    | some.sampled_from(["<think>a</think> b", "<think>a\nb", "a</think>\nb", ""]),
    cut=some.floats(0, 1),
    parts=some.booleans(),
    echo=some.booleans(),
    marked=some.booleans(),
)
def test_wherever_it_is_cut_the_same_is_scored(
    answer: str, cut: float, parts: bool, echo: bool, marked: bool
) -> None:
    place = round(cut * len(answer))
    begun, rest = answer[:place], answer[place:]
    request = continued(
        opening(begun if not parts else [{"type": "text", "text": t} for t in begun.split("\n")]),
        QUESTION, echo=echo,
    )  # fmt: skip
    thinking = TAGS if marked else None
    reward = FakeReward()
    selection = asyncio.run(run(request, reward, [answer if echo else rest], thinking))
    usable = (CandidateStatus.FINISHED, CandidateStatus.TRUNCATED)
    if selection.winner.status in usable:
        whole = after_thinking(answer, thinking) or ""
        assert reward.conversations == [[QUESTION]]
        assert reward.calls == [[{"role": "assistant", "content": whole}]]
    else:
        assert not rest.strip() or marked, "nothing was added to what the client began"


JSON = {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("begun", "echo", "content", "status"),
    [
        # The engine's grammar begins with what it generates itself.
        ("Here: ", False, '{"a": 1}', CandidateStatus.FINISHED),
        ("Here: ", True, 'Here: {"a": 1}', CandidateStatus.FINISHED),
        ("Here: ", True, "Here: {", CandidateStatus.INVALID),
        ("<think>so ", False, 'it is</think>{"a": 1}', CandidateStatus.FINISHED),
        ("<think>so ", True, '<think>so it is</think>{"a": 1}', CandidateStatus.FINISHED),
        ("<think>so ", False, "it is", CandidateStatus.TRUNCATED),
        ("<think>so ", True, "<think>so it is", CandidateStatus.TRUNCATED),
        ("<think>so</think>", True, '<think>so</think>{"a": 1}', CandidateStatus.FINISHED),
    ],
)
async def test_what_was_begun_is_not_judged(
    begun: str, echo: bool, content: str, status: CandidateStatus
) -> None:
    request = continued(opening(begun), QUESTION, echo=echo, **JSON)
    good = '{"a": 2}'
    contents = [content, f"{begun}</think>{good}" if echo else f"</think>{good}"]
    selection = await run(request, FakeReward(), contents, TAGS)
    assert selection.candidates[0].status is status


async def test_nothing_added_is_empty_whether_it_is_repeated_or_not() -> None:
    for echo, nothing in ((False, ""), (True, "It is ")):
        request = continued(opening("It is "), QUESTION, echo=echo)
        selection = await run(request, FakeReward(), [nothing, "It is Paris."])
        assert selection.winners == (1,)
        assert selection.candidates[0].reason == "empty"
