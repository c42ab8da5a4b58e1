from __future__ import annotations

from collections.abc import Callable

import pytest

from bon_gateway.protocols import Trace
from bon_gateway.strategies.majority import MajoritySettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest, Stopped


async def test_with_and_without_rewards(ask: Callable[..., ChatRequest]) -> None:
    texts = ("9", "8", "the 7", "number 7")
    policy = FakePolicy({i: Act((completion(text),)) for i, text in enumerate(texts)})
    strategy = MajoritySettings(type="majority", n=4).build(Referee())
    assert not MajoritySettings.needs_reward
    assert (await strategy.run(ask(top=4), policy, None, Trace())).winners == (2, 0, 1, 3)
    long = FakeReward(rule=lambda message: float(len(message["content"])))
    assert (await strategy.run(ask(), policy, long, Trace())).winners == (3,)


def says(*texts: str) -> FakePolicy:
    return FakePolicy({i: Act((completion(text),)) for i, text in enumerate(texts)})


@pytest.mark.parametrize(
    ("texts", "stop_at", "wave", "drawn", "stopped"),
    [
        (["4"] * 8, 0.95, 4, 4, Stopped.VOTE),
        (["4"] * 8, 0.95, 3, 3, Stopped.VOTE),
        (["4"] * 8, 0.983, 3, 6, Stopped.VOTE),
        (["4"] * 8, 0.93, 3, 3, Stopped.VOTE),
        (["4"] * 8, 0.9375, 3, 3, Stopped.VOTE),
        (["4"] * 8, 0.982, 3, 3, Stopped.VOTE),
        # Of 6 votes 5 to 1, and two to come: they lead whatever comes.
        (["4", "4", "5", "4", "4", "4"] + ["5"] * 2, 0.999, 3, 6, Stopped.VOTE),
        # Those without an answer do not vote, and may go on not to.
        (["4", "so", "so", "so"] + ["4"] * 4, 0.95, 2, 6, Stopped.VOTE),
        (["4", "4", "4", "5"] * 2, 0.95, 4, 8, Stopped.CAP),
        (["4", "5"] * 4, 0.6, 2, 8, Stopped.CAP),
        (["so"] * 8, 0.6, 4, 8, Stopped.CAP),
    ],
)
async def test_it_stops_when_the_leading_answer_is_certain_enough(
    ask: Callable[..., ChatRequest],
    texts: list[str],
    stop_at: float,
    wave: int,
    drawn: int,
    stopped: Stopped,
) -> None:
    settings = MajoritySettings(type="majority", n=8, stop_at=stop_at, wave=wave)
    selection = await settings.build(Referee()).run(ask(), says(*texts), None, Trace())
    assert (selection.n, selection.stopped) == (drawn, stopped)
    assert selection.winners == (0,)


async def test_without_stop_at_all_are_drawn_at_once(ask: Callable[..., ChatRequest]) -> None:
    settings = MajoritySettings(type="majority", n=8)
    selection = await settings.build(Referee()).run(ask(), says(*["4"] * 8), None, Trace())
    assert (selection.n, selection.rounds, selection.stopped) == (8, 1, None)


async def test_a_client_that_wants_several_answers_gets_as_many(
    ask: Callable[..., ChatRequest],
) -> None:
    settings = MajoritySettings(type="majority", n=8, stop_at=0.95)
    selection = await settings.build(Referee()).run(ask(top=6), says(*["4"] * 8), None, Trace())
    assert (selection.n, len(selection.winners)) == (6, 6)
