"""The strategy whose choice is a function of the operator's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bon_gateway.errors import GatewayError, PolicyFailedError
from bon_gateway.protocols import Trace
from bon_gateway.strategies.hook import HookStrategySettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import Candidate, ChatRequest, Selection

Ask = Callable[..., ChatRequest]
BROKEN = Act((PolicyFailedError("broken"),))


def fewest_tokens(request: ChatRequest, candidates: Sequence[Candidate]) -> int:
    return min(range(len(candidates)), key=lambda place: candidates[place].tokens)


async def last_two(request: ChatRequest, candidates: Sequence[Candidate]) -> list[int]:
    return [len(candidates) - 1, len(candidates) - 2]


def nothing(request: ChatRequest, candidates: Sequence[Candidate]) -> list[int]:
    return []


def twice(request: ChatRequest, candidates: Sequence[Candidate]) -> tuple[int, int]:
    return 0, 0


def beyond(request: ChatRequest, candidates: Sequence[Candidate]) -> int:
    return len(candidates)


def broken(request: ChatRequest, candidates: Sequence[Candidate]) -> int:
    raise ZeroDivisionError


async def run(
    function: str, request: ChatRequest, policy: FakePolicy, reward: FakeReward | None = None
) -> Selection:
    settings = HookStrategySettings(type="hook", n=4, retries=0, function=f"{__name__}:{function}")
    settings.check()
    return await settings.build(Referee()).run(request, policy, reward, Trace())


async def test_it_chooses_among_those_that_may_win(ask: Ask) -> None:
    tokens = (5, 9, 7, 2)
    acts = {i: Act((completion(f"{i}", tokens=count),)) for i, count in enumerate(tokens)}
    selection = await run("fewest_tokens", ask(), FakePolicy({**acts, 3: BROKEN}))
    assert selection.winners == (0,)
    cut = Act((completion("so", tokens=1, finish_reason="length"),))
    selection = await run("fewest_tokens", ask(top=4), FakePolicy({**acts, 1: cut}))
    assert selection.winners == (3, 0, 2, 1)
    assert selection.strategy == "hook"


async def test_what_it_leaves_out_follows_by_reward(ask: Ask) -> None:
    selection = await run("last_two", ask(top=4), FakePolicy(), FakeReward())
    assert selection.winners == (3, 2, 1, 0)
    selection = await run("fewest_tokens", ask(top=4), FakePolicy(), FakeReward())
    assert selection.winners == (0, 3, 2, 1)


async def test_it_is_not_asked_where_nothing_is_usable(ask: Ask) -> None:
    with pytest.raises(PolicyFailedError, match="broken"):
        await run("fewest_tokens", ask(), FakePolicy(dict.fromkeys(range(4), BROKEN)))


@pytest.mark.parametrize("function", ["nothing", "twice", "beyond", "broken"])
async def test_a_wrong_answer_is_an_error_that_the_log_explains(
    ask: Ask, function: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(GatewayError, match="could not be chosen") as caught:
        await run(function, ask(), FakePolicy())
    assert caught.value.status == 500
    [record] = caplog.records
    fields: dict[str, Any] = vars(record)["fields"]
    assert fields["function"] == f"{__name__}:{function}"
    assert fields["error"] == ("ZeroDivisionError" if function == "broken" else "ValueError")
