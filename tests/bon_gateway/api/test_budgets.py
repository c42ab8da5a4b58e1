"""What a request and a key may spend, over HTTP, and what the answer says it saved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bon_gateway.judging import JudgeUsage
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward

Serve = Callable[..., Awaitable[Any]]
KEYS = {"BON_GATEWAY_API_KEYS": "a:key-a-0123456789,b:key-b-0123456789"}
A, B = ({"authorization": f"Bearer key-{name}-0123456789"} for name in "ab")


async def chat(served: Any, key: dict[str, str], **body: Any) -> Any:
    served.http.headers.update(key)
    return await served.chat(**body)


async def test_each_candidate_has_its_share_of_a_request(serve: Serve) -> None:
    served = await serve(settings={"limits": {"max_tokens_per_request": 103}})
    assert (await served.chat()).status_code == 200
    assert served.policy.requests[-1].sampling["max_tokens"] == 25
    assert (await served.chat(model="first")).status_code == 200
    assert served.policy.requests[-1].sampling["max_tokens"] == 34
    assert (await served.chat(temperature=0)).status_code == 200
    assert served.policy.requests[-1].sampling["max_tokens"] == 103
    for name in ("max_tokens", "max_completion_tokens"):
        assert (await served.chat(**{name: 25})).status_code == 200
        assert {n: served.policy.requests[-1].sampling.get(n) for n in (name,)} == {name: 25}
        refused = await served.chat(**{name: 26})
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert error["param"] == name
        assert "4 candidates of 26 tokens are above the limit of 103" in error["message"]
        assert "each may have 25" in error["message"]
    assert "max_tokens" not in served.policy.requests[-1].sampling
    assert (await served.chat(max_tokens=26, bon={"n": 3})).status_code == 200


async def test_more_candidates_than_tokens_are_refused(serve: Serve) -> None:
    served = await serve(settings={"limits": {"max_tokens_per_request": 6}})
    refused = await served.chat(bon={"n": 7})
    assert refused.status_code == 400
    assert "7 candidates are above the limit of 6 tokens" in refused.json()["error"]["message"]


async def test_the_share_of_a_random_number_is_no_chance(serve: Serve) -> None:
    poisson = {"policy": "p", "reward": "r", "strategy": {"type": "poisson", "n": 8}}
    limits = {"max_tokens_per_request": 80}
    served = await serve(settings={"limits": limits, "models": {"best": poisson}})
    for seed in range(5):
        assert (await served.chat(seed=seed)).status_code == 200
        assert served.policy.requests[-1].sampling["max_tokens"] == 10


async def test_a_key_has_so_many_requests_in_a_window(serve: Serve) -> None:
    limits = {"requests_per_key": 2, "window_s": 3600}
    served = await serve(settings={"limits": limits}, environ=KEYS)
    assert (await chat(served, A)).headers["x-ratelimit-remaining-requests"] == "1"
    assert (await chat(served, A, stream=True)).status_code == 200
    refused = await chat(served, A)
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 3500 < int(refused.headers["retry-after"]) <= 3600
    assert (await chat(served, B)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_has_so_many_tokens_in_a_window(serve: Serve, stream: bool) -> None:
    """Four candidates of three tokens each."""
    limits = {"tokens_per_key": 20, "window_s": 3600}
    served = await serve(settings={"limits": limits}, environ=KEYS)
    assert (await chat(served, A, stream=stream)).status_code == 200
    assert (await chat(served, A, max_tokens=2)).status_code == 200
    refused = await chat(served, A)
    assert refused.status_code == 429
    assert "24 generated tokens" in refused.json()["error"]["message"]
    refused = await chat(served, B, max_tokens=6)
    assert refused.status_code == 400
    assert "may generate 24 tokens" in refused.json()["error"]["message"]


async def test_tokens_that_nobody_got_count(serve: Serve) -> None:
    limits = {"tokens_per_key": 20, "window_s": 3600}
    late = FakePolicy(dict.fromkeys(range(4), Act(tokens_so_far=5)))
    models = {
        "best": {
            "policy": "p",
            "reward": "r",
            "strategy": {"type": "best_of_n", "n": 4, "deadline_ms": 50},
        }
    }
    served = await serve(policy=late, settings={"limits": limits, "models": models}, environ=KEYS)
    assert (await chat(served, A)).status_code == 504
    assert (await chat(served, A)).status_code == 429


async def test_the_answer_and_the_metrics_say_what_was_saved(serve: Serve) -> None:
    models = {
        name: {"policy": "p", "reward": "r", "strategy": {"type": "good_enough", **settings}}
        for name, settings in {
            "early": {"n": 6, "threshold": 1, "wave": 2},
            "never": {"n": 4, "threshold": 9},
        }.items()
    }
    models["cut"] = {"policy": "p", "reward": "r", "strategy": {"type": "first_k", "n": 2}}
    policy = FakePolicy({3: Act(tokens_so_far=2)})
    served = await serve(policy=policy, settings={"models": models})
    saved = [(await served.chat(model=m)).json()["bon"]["saved_tokens"] for m in ("early", "cut")]
    # Two candidates of three tokens in the place of six; one that was stopped after two.
    assert saved == [12, -2]
    policy.acts = {}
    assert (await served.chat(model="never")).json()["bon"]["saved_tokens"] == 0
    metric = "bon_saved_tokens_total"
    for model, strategy, positive, negative in (
        ("early", "good_enough", 12, 0),
        ("cut", "first_k", 0, 2),
        ("never", "good_enough", 0, 0),
    ):
        labels = {"model": model, "strategy": strategy}
        assert served.metric(metric, **labels, sign="positive") == positive
        assert served.metric(metric, **labels, sign="negative") == negative


async def test_a_single_sample_has_nothing_to_compare_with(serve: Serve) -> None:
    served = await serve()
    assert "saved_tokens" not in (await served.chat(model="one")).json()["bon"]


@pytest.mark.parametrize("failures", [0, 9])
async def test_a_key_pays_for_what_judges_write_even_where_nothing_comes_of_it(
    serve: Serve, failures: int
) -> None:
    judging = JudgeUsage(calls=1, prompt_tokens=500, completion_tokens=600)
    strategy = {"type": "best_of_n", "n": 2, "retries": 0, "fallback": "error"}
    served = await serve(
        reward=FakeReward(judging=judging, failures=failures),
        settings={
            "limits": {"tokens_per_key": 600, "window_s": 3600},
            "models": {"best": {"policy": "p", "reward": "r", "strategy": strategy}},
        },
        environ=KEYS,
    )
    assert (await chat(served, A)).status_code == (503 if failures else 200)
    assert (await chat(served, A)).status_code == 429
    assert (await chat(served, B)).status_code != 429
