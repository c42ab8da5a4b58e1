"""Reward and consensus together, over fakes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bon_common.selection.mbr import mbr_values
from bon_common.selection.similarity import ngram_consensus
from bon_gateway.errors import GatewayError, PolicyFailedError, RewardError
from bon_gateway.protocols import Trace
from bon_gateway.strategies import similarity as measures
from bon_gateway.strategies.decide import rank
from bon_gateway.strategies.mbr import Mbr, MbrSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Completion, Selection, Tier
from tests.waiting import until

Ask = Callable[..., ChatRequest]
TEXTS = ("abc", "abcd", "xyz")
"""The first two are alike by 2/3, so their consensus is 1/3 and that of the third 0."""
REWARDS = (1.0, 0.5, 2.0)


def mbr(**settings: Any) -> Mbr:
    return MbrSettings.model_validate({"type": "mbr", "retries": 0, **settings}).build(Referee())


def policy(*outcomes: str | Completion | PolicyFailedError, **more: Any) -> FakePolicy:
    made = [completion(each) if isinstance(each, str) else each for each in outcomes]
    return FakePolicy({index: Act((outcome,)) for index, outcome in enumerate(made)}, **more)


def knowing(texts: Sequence[str], rewards: Sequence[float]) -> FakeReward:
    known = dict(zip(texts, rewards, strict=True))
    return FakeReward(rule=lambda message: known[message["content"]])


async def run(
    request: ChatRequest, policy: FakePolicy, reward: FakeReward | None = None, **settings: Any
) -> Selection:
    return await mbr(n=len(policy.acts), **settings).run(request, policy, reward, Trace())


@pytest.mark.parametrize(
    ("beta", "order"),
    [(0.0, (2, 0, 1)), (2.9, (2, 0, 1)), (3.1, (0, 2, 1)), (6.0, (0, 1, 2)), (1e9, (0, 1, 2))],
)
async def test_beta_leads_from_the_reward_to_consensus(
    ask: Ask, beta: float, order: tuple[int, ...]
) -> None:
    """The third is worth 2, the first 1 + beta / 3 and the second 0.5 + beta / 3."""
    reward = knowing(TEXTS, REWARDS)
    selection = await run(ask(top=3), policy(*TEXTS), reward, beta=beta)
    assert selection.winners == order
    assert (selection.strategy, selection.degraded) == ("mbr", ())
    assert tuple(candidate.reward for candidate in selection.candidates) == REWARDS


async def test_without_beta_or_a_reward_model_consensus_alone_decides(ask: Ask) -> None:
    reward = knowing(TEXTS, REWARDS)
    selection = await run(ask(top=3), policy("xyz", "abcd", "abc"), reward, beta=None)
    assert (selection.winners, reward.calls) == ((1, 2, 0), [])
    selection = await run(ask(top=3), policy("xyz", "abcd", "abc"), beta=0.5)
    assert (selection.winners, selection.degraded) == ((1, 2, 0), ())


async def test_the_size_of_ngrams_is_a_setting(ask: Ask) -> None:
    texts = ("ba", "ab", "abab")
    similar: dict[str, Any] = {"beta": None, "similarity": {"type": "ngrams", "size": 1}}
    assert (await run(ask(), policy(*texts), **similar)).winners == (0,)
    similar["similarity"] = {"type": "ngrams", "size": 2}
    assert (await run(ask(), policy(*texts), **similar)).winners == (2,)


async def test_a_reward_model_that_is_down_leaves_consensus(ask: Ask) -> None:
    down = FakeReward(failures=100)
    selection = await run(ask(), policy("xyz", "abcd", "abc"), down)
    assert (selection.winners, selection.degraded) == ((1,), ("reward_unavailable",))
    with pytest.raises(RewardError):
        await run(ask(), policy("xyz", "abcd", "abc"), down, fallback="error")
    spoken = [
        completion(text, logprobs=[value]) for text, value in zip("aab", (-3, -2, -1), strict=True)
    ]
    selection = await run(ask(), policy(*spoken), down, fallback="confidence")
    assert (selection.winners[0], selection.degraded[-1]) == (2, "chosen_by_confidence")


async def test_those_without_a_reward_come_last_and_still_count_as_others() -> None:
    candidates = [
        Candidate(i, CandidateStatus.FINISHED, completion(text), reward)
        for i, (text, reward) in enumerate(
            [("abc", None), ("abcd", 0.0), ("xyz", 0.5), ("cut", 9.0)]
        )
    ]
    candidates[3] = Candidate(3, CandidateStatus.TRUNCATED, completion("cut"), 9.0)
    request = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")
    # Only with the first one, which has no reward, the second has a consensus: of 1/3.
    assert await mbr(beta=3.0).decide(request, FakePolicy(), candidates, Trace()) == (1, 2, 0, 3)
    assert await mbr(beta=1.4).decide(request, FakePolicy(), candidates, Trace()) == (2, 1, 0, 3)


async def test_what_is_compared_is_what_a_reward_model_reads(ask: Ask) -> None:
    """Not the thinking, by which the first two are alike; and tool calls are part of an answer."""
    same = "it is the same at some length"
    thought = (same, same, "well", "hm")
    said = ("one", "three", "two", "two")
    texts = [f"<think>{a}</think>{b}" for a, b in zip(thought, said, strict=True)]
    drawn = policy(*texts)
    assert (await run(ask(), drawn)).winners in {(0,), (1,)}
    drawn.thinking = ThinkingSettings()
    assert (await run(ask(), drawn)).winners == (2,)

    def calling(city: str) -> Completion:
        arguments = f'{{"city": "{city}"}}'
        function = {"name": "weather", "arguments": arguments}
        calls = [{"id": "1", "type": "function", "function": function}]
        return completion(None, finish_reason="tool_calls", tool_calls=calls)

    drawn = policy(calling("Rome"), calling("Oslo"), calling("Oslo"))
    assert (await run(ask(), drawn)).winners == (1,)


async def test_one_candidate_needs_no_others(ask: Ask) -> None:
    assert (await run(ask(temperature=0), policy("a", "b", "a"), knowing("a", [1]))).n == 1
    lost = PolicyFailedError("lost")
    assert (await run(ask(), policy(lost, "b", lost), knowing("b", [1]))).winners == (1,)
    with pytest.raises(PolicyFailedError):
        await run(ask(), policy(lost, lost))
    never = {"type": "hook", "function": f"{__name__}:broken"}
    assert (await run(ask(), policy("a", lost), similarity=never)).winners == (0,)


CANDIDATES = st.lists(
    st.builds(
        lambda status, text, reward, tier: (status, text, reward, tier),
        st.sampled_from(list(CandidateStatus)),
        st.text("abc", max_size=6),
        st.none() | st.floats(-10, 10),
        st.sampled_from(list(Tier)),
    ),
    min_size=1,
    max_size=8,
).map(
    lambda rows: [
        Candidate(i, status, completion(text), reward, tier=tier)
        for i, (status, text, reward, tier) in enumerate(rows)
    ]
)
REQUEST = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")


def decided(candidates: Sequence[Candidate], beta: float | None) -> Sequence[int]:
    return asyncio.run(mbr(beta=beta).decide(REQUEST, FakePolicy(), candidates, Trace()))


@given(CANDIDATES)
def test_beta_0_is_best_of_n(candidates: list[Candidate]) -> None:
    assert tuple(decided(candidates, 0.0)) == rank(candidates)


@given(CANDIDATES, st.none() | st.floats(0, 1e6))
def test_every_usable_candidate_is_ranked_once(
    candidates: list[Candidate], beta: float | None
) -> None:
    found = decided(candidates, beta)
    assert sorted(found) == sorted(rank(candidates))
    # The best kind of candidate goes first, whatever they say.
    if found:
        best, first = candidates[rank(candidates)[0]], candidates[found[0]]
        assert (best.tier, best.status) == (first.tier, first.status)


@given(
    st.lists(st.tuples(st.text("abc", max_size=6), st.floats(-10, 10)), min_size=2, max_size=6),
    st.floats(0.01, 100),
    st.randoms(use_true_random=False),
)
def test_the_order_of_candidates_matters_only_between_equals(
    pairs: list[tuple[str, float]], beta: float, random: Any
) -> None:
    consensus = ngram_consensus([text for text, _ in pairs], 3)
    worth = mbr_values([reward for _, reward in pairs], consensus, beta)
    assume(len(set(worth)) == len(pairs))
    order = random.sample(range(len(pairs)), len(pairs))
    turned = [
        Candidate(i, CandidateStatus.FINISHED, completion(pairs[place][0]), pairs[place][1])
        for i, place in enumerate(order)
    ]
    best_first = sorted(range(len(pairs)), key=lambda place: -worth[place])
    assert [order[position] for position in decided(turned, beta)] == best_first


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Of numbers: how far from 0, as an angle."""
    return [[float(text), 1.0] for text in texts]


async def embed_slowly(texts: Sequence[str]) -> list[list[float]]:
    await asyncio.sleep(0)
    return embed(texts)


def too_few(texts: Sequence[str]) -> list[list[float]]:
    return embed(texts)[1:]


def broken(texts: Sequence[str]) -> list[list[float]]:
    raise ZeroDivisionError


@pytest.mark.parametrize("function", ["embed", "embed_slowly"])
async def test_embeddings_of_a_function(ask: Ask, function: str) -> None:
    similarity = {"type": "hook", "function": f"{__name__}:{function}"}
    drawn = policy("9", "0.2", "0.1", "-8")
    selection = await run(ask(top=4), drawn, beta=None, similarity=similarity)
    assert selection.winners[0] == 2
    assert set(selection.winners[2:]) == {0, 3}


@pytest.mark.parametrize("function", ["too_few", "broken"])
async def test_a_function_that_fails_is_an_error_and_is_named(
    ask: Ask, function: str, caplog: pytest.LogCaptureFixture
) -> None:
    similarity = {"type": "hook", "function": f"{__name__}:{function}"}
    with pytest.raises(GatewayError, match="the winner could not be chosen"):
        await run(ask(), policy("1", "2"), similarity=similarity)
    (record,) = [r for r in caplog.records if "similarity" in r.getMessage()]
    assert record.__dict__["fields"]["request_id"] == "request"


async def test_long_answers_are_compared_beside_the_event_loop(ask: Ask) -> None:
    """And only their beginnings: what differs behind them makes no difference."""
    long = "abcdefgh " * 1000
    texts = ("z" * 20_000, long + "one", long + "two", long + "two")
    selection = await run(ask(top=4), policy(*texts), beta=None)
    assert selection.winners == (1, 2, 3, 0)


async def test_long_answers_are_compared_for_one_request_at_a_time(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever strategy objects the requests have."""
    begun: list[int] = []
    go_on = threading.Event()

    def compare(texts: Sequence[str], size: int) -> list[float]:
        if sum(map(len, texts)) > measures.SHORT:
            begun.append(len(texts))
            assert go_on.wait(20)
        return [0.0] * len(texts)

    monkeypatch.setattr(measures, "ngram_consensus", compare)
    referee, settings = Referee(), MbrSettings(type="mbr", n=2, beta=None)
    long = policy("a" * measures.SHORT, "b")
    try:
        runs = [
            asyncio.create_task(settings.build(referee).run(ask(), long, None, Trace()))
            for _ in range(3)
        ]
        await until(lambda: begun)
        for _ in range(3):
            # Threads take their work in order, so another comparison would have begun by then.
            await asyncio.to_thread(lambda: None)
        assert begun == [2]
        short = policy("a", "b")
        assert (await settings.build(referee).run(ask(), short, None, Trace())).winners == (0,)
    finally:
        go_on.set()
    await asyncio.gather(*runs)
    assert begun == [2, 2, 2]
