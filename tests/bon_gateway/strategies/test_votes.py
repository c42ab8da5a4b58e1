"""What the strategies that vote have in common: who votes, what is read, who comes after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.extract.bounds import MOST_SEARCHED
from bon_gateway.errors import NoRewardError, PolicyFailedError, RewardError
from bon_gateway.protocols import Trace
from bon_gateway.strategies.decide import rank
from bon_gateway.strategies.majority import MajoritySettings
from bon_gateway.strategies.majority_of_the_bests import MajorityOfTheBestsSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.votes import VoteSettings
from bon_gateway.strategies.weighted_vote import WeightedVoteSettings
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Completion, Selection, Tier

Ask = Callable[..., ChatRequest]
KINDS: dict[str, type[VoteSettings]] = {
    "majority": MajoritySettings,
    "weighted_vote": WeightedVoteSettings,
    "majority_of_the_bests": MajorityOfTheBestsSettings,
}
BROKEN = PolicyFailedError("broken")
EXACT = {"type": "exact"}


def policy(*outcomes: str | Completion | PolicyFailedError) -> FakePolicy:
    made = [completion(each) if isinstance(each, str) else each for each in outcomes]
    return FakePolicy({index: Act((outcome,)) for index, outcome in enumerate(made)})


def settings(kind: str, n: int, **more: Any) -> VoteSettings:
    return KINDS[kind].model_validate({"type": kind, "n": n, "retries": 0, **more})


async def run(
    kind: str,
    request: ChatRequest,
    policy: FakePolicy,
    reward: FakeReward | None = None,
    **more: Any,
) -> Selection:
    strategy = settings(kind, max(len(policy.acts), 1), **more).build(Referee())
    return await strategy.run(request, policy, reward, Trace())


def by_length(answers: Sequence[str], rewards: Sequence[float]) -> FakeReward:
    """A reward model that knows each of the answers."""
    known = dict(zip(answers, rewards, strict=True))
    return FakeReward(rule=lambda message: known[message["content"]])


@pytest.mark.parametrize("kind", KINDS)
async def test_choices_are_different_answers_and_then_by_reward(ask: Ask, kind: str) -> None:
    texts = ("no idea", "It is 7.", "7, I think", "so 7", "8?")
    reward = by_length(texts, (1.5, 1.0, 1.2, 1.1, 0.9))
    selection = await run(kind, ask(top=5), policy(*texts), reward)
    assert selection.winners == (2, 4, 0, 3, 1)
    assert selection.strategy == kind
    assert (await run(kind, ask(), policy(*texts), reward)).winners == (2,)


@pytest.mark.parametrize("kind", KINDS)
async def test_where_nobody_has_an_answer_the_best_reward_wins(ask: Ask, kind: str) -> None:
    texts = ("none", "nothing", "nil")
    reward = by_length(texts, (0.0, 2.0, 1.0))
    assert (await run(kind, ask(top=3), policy(*texts), reward)).winners == (1, 2, 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_only_those_that_may_win_vote(ask: Ask, kind: str) -> None:
    cut = completion("5 5", finish_reason="length")
    drawn = policy(cut, cut, BROKEN, completion(""), "It is 6.")
    selection = await run(kind, ask(top=3), drawn, FakeReward())
    assert selection.winners == (4, 0, 1)
    # If all are cut, they are what there is to choose from.
    cut_too = [completion(text, finish_reason="length") for text in ("6", "5 5", "the 5")]
    assert (await run(kind, ask(), policy(*cut_too), None)).winners == (1,)


@pytest.mark.parametrize("kind", KINDS)
async def test_without_rewards_the_most_frequent_answer_wins(ask: Ask, kind: str) -> None:
    drawn = ("9", "It is 4", "4")
    down = FakeReward(failures=99)
    selection = await run(kind, ask(), policy(*drawn), down)
    assert (selection.winners, selection.degraded) == ((1,), ("reward_unavailable",))
    with pytest.raises(RewardError):
        await run(kind, ask(), policy(*drawn), down, fallback="error")
    with pytest.raises(NoRewardError):
        await run(kind, ask(), policy(*drawn), FakeReward(is_ready=False), fallback="error")


@pytest.mark.parametrize("kind", KINDS)
async def test_one_candidate(ask: Ask, kind: str) -> None:
    assert (await run(kind, ask(), policy("4"), FakeReward())).winners == (0,)
    greedy = await run(kind, ask(temperature=0), policy("4", "5", "5"), FakeReward())
    assert (greedy.winners, greedy.n) == ((0,), 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_if_all_fail_it_is_their_error(ask: Ask, kind: str) -> None:
    with pytest.raises(PolicyFailedError, match="broken"):
        await run(kind, ask(), policy(BROKEN, BROKEN), FakeReward())


async def test_thinking_is_no_answer(ask: Ask) -> None:
    drawn = policy("<think>3</think>Yes", "<think>4</think>No", "<think>5</think>no")
    drawn.thinking = ThinkingSettings()
    assert (await run("majority", ask(), drawn, extract=EXACT)).winners == (1,)
    # None has a number behind its thinking, so the first wins.
    drawn = policy("<think>3</think>A", "<think>4</think>B", "<think>4</think>C")
    drawn.thinking = ThinkingSettings()
    assert (await run("majority", ask(), drawn)).winners == (0,)


async def test_what_the_client_wrote_of_the_answer_belongs_to_it() -> None:
    opening = [{"role": "user", "content": "?"}, {"role": "assistant", "content": r"So \boxed{"}]
    request = ChatRequest(opening, {"continue_final_message": True}, None, 1, "request")
    drawn = policy("3}", "4}", "4.0} it is")
    assert (await run("majority", request, drawn, extract={"type": "boxed"})).winners == (1,)


async def test_a_refusal_is_text(ask: Ask) -> None:
    refused = completion(None, refusal="I cannot.")
    assert (
        await run("majority", ask(), policy("Yes", refused, refused), extract=EXACT)
    ).winners == (1,)


def call(arguments: str) -> Completion:
    function = {"name": "get", "arguments": arguments}
    calls = [{"id": "c", "type": "function", "function": function}]
    return completion(None, finish_reason="tool_calls", tool_calls=calls)


CALLS = (call('{"a": 1}'), call('{"a": 2, "b": 3}'), call('{"b": 3, "a": 2}'))


@pytest.mark.parametrize(
    ("extract", "outcomes"),
    [
        ({"type": "last_number"}, ("Of 3: 2", "It is 5.", "5.0")),
        ({"type": "boxed"}, (r"\boxed{2}", r"\boxed{5} 2", r"\boxed{5.0}")),
        ({"type": "json_field", "field": "a"}, ('{"b": 5}', '{"a": 5}', '{"a":5.0}')),
        ({"type": "regex", "pattern": r"is (\w)"}, ("It is A", "It is B", "so it is b")),
        (EXACT, ("No", "Yes", "YES ")),
        ({"type": "tool_calls"}, CALLS),
    ],
)  # fmt: skip
async def test_each_way_to_find_answers(
    ask: Ask, extract: dict[str, Any], outcomes: Sequence[str | Completion]
) -> None:
    selection = await run("majority", ask(top=3), policy(*outcomes), extract=extract)
    assert selection.winners == (1, 0, 2)


async def test_long_answers_vote_too(ask: Ask) -> None:
    padding = " so" * MOST_SEARCHED
    assert (
        await run("majority", ask(), policy("1", f"{padding} 2", f"{padding} 2.0"))
    ).winners == (1,)


candidates = st.lists(
    st.tuples(
        st.sampled_from(CandidateStatus),
        st.none() | st.floats(-9, 9),
        st.sampled_from(Tier),
    ),
    max_size=6,
)


@pytest.mark.parametrize("kind", KINDS)
@given(drawn=candidates)
async def test_where_all_agree_the_order_is_that_of_best_of_n(
    kind: str, drawn: list[tuple[CandidateStatus, float | None, Tier]]
) -> None:
    pool = [
        Candidate(i, status, completion("It is 4."), reward, tier=tier)
        for i, (status, reward, tier) in enumerate(drawn)
    ]
    request = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")
    strategy = settings(kind, 8).build(Referee())
    assert isinstance(strategy.name, str)
    order = await strategy.decide(request, FakePolicy(), pool, Trace())  # type: ignore[attr-defined]
    assert tuple(order) == rank(pool)
