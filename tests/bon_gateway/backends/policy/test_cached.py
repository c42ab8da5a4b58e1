from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import pytest

from bon_common.selection.confidence import lowest_group, mean, token_confidence
from bon_gateway.backends.cache.settings import CandidateCacheSettings
from bon_gateway.backends.policy.cached import CachedPolicy
from bon_gateway.errors import PolicyFailedError
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import Trace
from bon_gateway.testing.fakes import Act, FakePolicy, completion
from bon_gateway.types import CacheUse, ChatRequest, Completion, Sample, Signal

ASK = ChatRequest(
    messages=[{"role": "user", "content": "q"}],
    sampling={"temperature": 0.7},
    seed=None,
    top=1,
    request_id="r",
)


class Kept:
    def __init__(self, policy: FakePolicy | None = None, **settings: Any) -> None:
        self.fake = policy or FakePolicy()
        self.metrics = Metrics()
        meter = self.metrics.cache_meter("policies.p")
        self.policy = CachedPolicy(self.fake, CandidateCacheSettings(**settings), meter)

    async def draw(self, *indices: int, **changes: Any) -> dict[int, Sample]:
        request = msgspec.structs.replace(ASK, **changes)
        found: list[Sample] = []
        await self.policy.sample(request, indices, Trace(), found.append)
        return {sample.index: sample for sample in found}

    def drawn(self) -> list[int]:
        """How often each candidate was drawn, up to the last."""
        return [self.fake.attempts[index] for index in range(max(self.fake.attempts) + 1)]


def texts(samples: dict[int, Sample]) -> dict[int, Any]:
    return {i: s.outcome.message["content"] for i, s in samples.items()
            if isinstance(s.outcome, Completion)}  # fmt: skip


def cached(samples: dict[int, Sample]) -> dict[int, bool]:
    return {i: s.outcome.cached for i, s in samples.items() if isinstance(s.outcome, Completion)}


async def test_candidates_do_not_collapse_into_one() -> None:
    kept = Kept()
    first = await kept.draw(0, 1, 2)
    second = await kept.draw(0, 1, 2)
    assert texts(first) == texts(second) == {i: f"answer {i}" for i in range(3)}
    assert cached(first) == dict.fromkeys(range(3), False)
    assert cached(second) == dict.fromkeys(range(3), True)
    assert kept.drawn() == [1, 1, 1]


async def test_only_the_missing_ones_are_drawn() -> None:
    kept = Kept()
    await kept.draw(0, 2)
    await kept.draw(0, 1, 2, 3)
    assert kept.drawn() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": [{"role": "user", "content": "another"}]},
        {"sampling": {"temperature": 0.8}},
        {"sampling": {"temperature": 0.7, "tools": []}},
        {"sampling": {}},
        {"seed": 5},
        {"upstream_model": "lora"},
        {"signal": Signal(0, mean, mean)},
        {"cache": CacheUse("bob")},
    ],
)
async def test_whatever_decides_the_candidate_tells_it_from_others(changes: dict[str, Any]) -> None:
    kept = Kept()
    await kept.draw(0)
    await kept.draw(0, **changes)
    assert kept.drawn() == [2]
    await kept.draw(0, **changes)
    await kept.draw(0)
    assert kept.drawn() == [2]


async def test_whatever_does_not_decide_it_does_not() -> None:
    kept = Kept()
    await kept.draw(0)
    await kept.draw(0, request_id="another", trace={"traceparent": "t"}, top=3)
    assert kept.drawn() == [1]


async def test_a_seed_counts_with_the_index() -> None:
    """Candidate 1 of seed 5 has the seed of candidate 0 of seed 6, and is another candidate."""
    kept = Kept()
    await kept.draw(0, 1, seed=5)
    await kept.draw(0, seed=6)
    assert kept.drawn() == [2, 1]


async def test_signals_are_told_apart_by_their_parameters() -> None:
    def signal(window: int) -> Signal:
        return Signal(3, token_confidence, partial(lowest_group, window=window))

    kept = Kept()
    await kept.draw(0, signal=signal(8))
    await kept.draw(0, signal=signal(16))
    await kept.draw(0, signal=signal(8))
    assert kept.drawn() == [2]


@pytest.mark.parametrize("shared", [False, True])
async def test_callers_share_only_if_they_may(shared: bool) -> None:
    kept = Kept(shared=shared)
    await kept.draw(0, cache=CacheUse("alice"))
    await kept.draw(0, cache=CacheUse("bob"))
    assert kept.drawn() == [1 if shared else 2]


async def test_a_client_may_refuse_the_cache() -> None:
    """``no-store`` neither reads nor fills the cache, ``no-cache`` keeps its new candidates."""
    texts_of = (completion("first"), completion("second"), completion("third"))
    kept = Kept(FakePolicy({0: Act(texts_of)}))
    secret = await kept.draw(0, cache=CacheUse(read=False, store=False))
    assert (texts(secret), len(kept.policy._store)) == ({0: "first"}, 0)
    await kept.draw(0)
    anew = await kept.draw(0, cache=CacheUse(read=False))
    assert texts(anew) == texts(await kept.draw(0)) == {0: "third"}


async def test_what_failed_is_not_kept() -> None:
    policy = FakePolicy({0: Act((PolicyFailedError("no"), completion("yes")))})
    kept = Kept(policy)
    failed = await kept.draw(0)
    assert isinstance(failed[0].outcome, PolicyFailedError)
    assert texts(await kept.draw(0)) == {0: "yes"}
    assert texts(await kept.draw(0)) == {0: "yes"}
    assert policy.attempts[0] == 2


async def test_nobody_changes_what_others_get() -> None:
    kept = Kept()
    first = await kept.draw(0)
    outcome = first[0].outcome
    assert isinstance(outcome, Completion)
    dict_of: Any = outcome.message
    dict_of["content"] = "changed"
    for _ in range(2):
        again = (await kept.draw(0))[0].outcome
        assert isinstance(again, Completion)
        assert again.message["content"] == "answer 0"
        message: Any = again.message
        message["content"] = "changed"


async def test_all_of_a_completion_is_kept() -> None:
    whole = Completion(
        message={"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
        finish_reason="tool_calls",
        tokens=7,
        prompt_tokens=3,
        logprobs={"content": [{"token": "t", "logprob": -0.5, "bytes": None}]},
        extra={"stop_reason": None, "token_ids": [1, 2]},
        response_extra={"prompt_logprobs": [None, {"5": 1}]},
        prompt_details={"cached_tokens": 2},
        completion_details={"reasoning_tokens": 1},
        confidence=-0.5,
    )
    kept = Kept(FakePolicy({0: Act((whole,))}))

    def of(samples: dict[int, Sample]) -> Completion:
        assert isinstance(samples[0].outcome, Completion)
        return samples[0].outcome

    first, second = of(await kept.draw(0)), of(await kept.draw(0))
    assert second == msgspec.structs.replace(first, cached=True)


async def test_memory_is_bounded() -> None:
    policy = FakePolicy({i: Act((completion("x" * 10_000),)) for i in range(50)})
    kept = Kept(policy, max_mb=0.1)
    await kept.draw(*range(50))
    assert 5 < len(kept.policy._store) < 11
    assert kept.policy._store.bytes <= 0.1 * 1024 * 1024


async def test_look_ups_are_counted() -> None:
    kept = Kept()
    await kept.draw(0, 1)
    await kept.draw(0, 1, 2)
    await kept.draw(0, cache=CacheUse(read=False))
    found = [
        kept.metrics.registry.get_sample_value(
            "bon_cache_lookups_total", {"cache": "policies.p", "outcome": outcome}
        )
        for outcome in ("hit", "miss")
    ]
    assert found == [2, 3]


async def test_a_stream_passes_through() -> None:
    kept = Kept()
    await kept.draw(0)
    streamed: Sequence[Any] = [delta async for delta in kept.policy.stream(ASK, Trace())]
    assert streamed
    assert kept.fake.attempts[0] >= 1
