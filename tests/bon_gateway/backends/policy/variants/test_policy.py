"""How candidates are dealt to variants, drawn again by others, and told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from bon_gateway.backends.policy.variants.policy import VariantsPolicy, VariantsSettings
from bon_gateway.errors import PolicyUnreachableError
from bon_gateway.protocols import Trace
from bon_gateway.strategies.best_of_n import BestOfNSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.single import SingleSettings
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest, Completion, Delta, Sample, Selection
from tests.waiting import until

DEAD = PolicyUnreachableError("dead")
OF: list[dict[str, Any]] = [
    {"policy": "small", "share": 2, "temperature": 0.7},
    {"policy": "large", "name": "thoughtful", "system_suffix": "Think.", "model": "lora"},
]


def request(seed: int | None = None, **sampling: Any) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": "?"}], sampling, seed, 1, "request")


def mix(policies: Mapping[str, FakePolicy], of: list[dict[str, Any]] = OF) -> VariantsPolicy:
    settings = VariantsSettings.model_validate({"type": "variants", "of": of})
    return settings.compose(policies)


async def drawn(policy: VariantsPolicy, indices: list[int], trace: Trace) -> dict[int, Sample]:
    samples: list[Sample] = []
    async with asyncio.timeout(20):
        await policy.sample(request(), indices, trace, samples.append)
    return {sample.index: sample for sample in samples}


async def best_of(n: int, policy: VariantsPolicy, **keys: Any) -> Selection:
    settings = BestOfNSettings.model_validate({"type": "best_of_n", "n": n, **keys})
    async with asyncio.timeout(20):
        return await settings.build(Referee()).run(request(), policy, FakeReward(), Trace())


def variants(selection: Selection) -> list[str | None]:
    return [candidate.variant for candidate in selection.candidates]


async def test_candidates_are_dealt_in_shares_and_in_any_waves_alike() -> None:
    dealt = []
    for waves in ([[0, 1, 2, 3, 4, 5]], [[0], [1, 2], [3, 4, 5]]):
        policies, trace = {"small": FakePolicy(), "large": FakePolicy()}, Trace()
        for indices in waves:
            samples = await drawn(mix(policies), indices, trace)
            assert sorted(samples) == indices
        dealt.append([trace.variants.get(index) for index in range(6)])
        assert sorted(policies["small"].attempts) == [0, 2, 3, 5]
        assert sorted(policies["large"].attempts) == [1, 4]
    assert dealt[0] == dealt[1] == ["small", "thoughtful", "small"] * 2


async def test_each_gets_its_own_request_with_the_seeds_of_all() -> None:
    policies = {"small": FakePolicy(), "large": FakePolicy()}
    await mix(policies).sample(
        request(seed=5, temperature=0.2, max_tokens=9), range(3), Trace(), lambda _: None
    )
    [small], [large] = policies["small"].requests, policies["large"].requests
    assert small.sampling == {"temperature": 0.7, "max_tokens": 9}
    assert large.sampling == {"temperature": 0.2, "max_tokens": 9}
    assert (small.upstream_model, large.upstream_model) == (None, "lora")
    assert large.messages[0] == {"role": "system", "content": "Think."}
    assert [large.seed_of(index) for index in range(3)] == [5, 6, 7]


async def test_variants_draw_at_the_same_time() -> None:
    policies = {"small": FakePolicy({0: Act(), 2: Act()}), "large": FakePolicy({1: Act()})}
    task = asyncio.create_task(drawn(mix(policies), [0, 1, 2], Trace()))
    await until(lambda: [p.running for p in policies.values()] == [2, 1], what="all run")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [policy.aborted for policy in policies.values()] == [{0, 2}, {1}]


async def test_all_know_which_variant_drew_a_candidate() -> None:
    policies = {
        "small": FakePolicy({3: Act(tokens_so_far=4)}),
        "large": FakePolicy({4: Act((DEAD,))}),
    }
    selection = await best_of(5, mix(policies), deadline_ms=500, retries=0)
    assert variants(selection) == ["small", "thoughtful", "small", "small", "thoughtful"]
    assert [str(candidate.status) for candidate in selection.candidates] == [
        *("finished", "finished", "finished", "rejected", "failed")
    ]


async def test_a_candidate_that_failed_is_drawn_again_by_another_variant() -> None:
    policies = {"small": FakePolicy({0: Act((DEAD,)), 3: Act((DEAD,))}), "large": FakePolicy()}
    selection = await best_of(4, mix(policies))
    assert variants(selection) == ["thoughtful", "thoughtful", "small", "thoughtful"]
    assert selection.degraded == ()
    assert policies["small"].attempts[0] == 1


async def test_one_policy_alone_draws_its_candidates_again() -> None:
    of: list[dict[str, Any]] = [
        {"policy": "small"},
        {"policy": "small", "name": "hot", "temperature": 1.5},
    ]
    policies = {"small": FakePolicy({1: Act((DEAD, completion("answer 9")))})}
    selection = await best_of(2, mix(policies, of))
    assert variants(selection) == ["small", "hot"]
    assert selection.winners == (1,)


async def test_while_a_policy_is_down_the_others_draw_its_candidates() -> None:
    of = [{"policy": "a"}, {"policy": "b"}, {"policy": "c"}]
    policies = {"a": FakePolicy(is_ready=False), "b": FakePolicy(), "c": FakePolicy()}
    policy = mix(policies, of)
    assert policy.ready()
    assert variants(await best_of(9, policy)) == ["b", "b", "c", "c", "b", "c", "b", "b", "c"]
    policies["b"].is_ready = policies["c"].is_ready = False
    assert not policy.ready()
    assert variants(await best_of(3, policy)) == ["a", "b", "c"]


async def test_the_last_policy_that_is_up_is_asked_again() -> None:
    flaky = FakePolicy({0: Act((DEAD, completion("answer 9")))})
    selection = await best_of(1, mix({"small": FakePolicy(is_ready=False), "large": flaky}))
    assert variants(selection) == ["thoughtful"]
    assert flaky.attempts[0] == 2


async def test_single_streams_from_the_variant_of_candidate_0() -> None:
    class Sink:
        def __init__(self) -> None:
            self.said = ""

        async def send(self, index: int, delta: Delta) -> None:
            self.said += ((delta.choice or {}).get("delta") or {}).get("content") or ""

    policies = {"small": FakePolicy({0: Act((DEAD,))}), "large": FakePolicy()}
    sink = Sink()
    single = SingleSettings(type="single").build(Referee())
    async with asyncio.timeout(20):
        selection = await single.run(request(), mix(policies), None, Trace(sink=sink))
    # The first attempt failed before a word.
    assert (sink.said, variants(selection)) == ("one two three", ["thoughtful"])
    assert policies["large"].requests[0].upstream_model == "lora"


@pytest.mark.parametrize("details", [None, {"cached_tokens": 2}])
async def test_the_prompt_counts_once_for_each_variant(details: dict[str, int] | None) -> None:
    def answer(prompt_tokens: int) -> Act:
        made = completion("answer", prompt_tokens=prompt_tokens)
        return Act(
            (Completion(made.message, "stop", made.tokens, prompt_tokens, prompt_details=details),)
        )

    policies = {
        "small": FakePolicy({0: answer(5), 2: answer(6), 3: answer(5)}),
        "large": FakePolicy({1: answer(40)}),
    }
    usage = (await best_of(4, mix(policies))).usage
    assert usage.prompt_tokens == 46
    assert usage.prompt_details == (None if details is None else {"cached_tokens": 4})
    assert usage.completion_tokens == 12


async def test_it_has_no_upstream_of_its_own() -> None:
    policies = {"small": FakePolicy(is_ready=False), "large": FakePolicy()}
    policy = mix(policies)
    await policy.start()
    await policy.close()
    assert (policy.health(), policy.troubles(), policy.ready()) == ({}, {}, True)
