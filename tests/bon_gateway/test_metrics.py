from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from math import nan
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bon_gateway.metrics import MULTIPROCESS_VARIABLE, Metrics, _Workers
from bon_gateway.types import Candidate, CandidateStatus, Selection, Timings, Usage


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MULTIPROCESS_VARIABLE, raising=False)


def values(body: bytes) -> dict[str, float]:
    """``name{label=value,...}`` to value."""
    return {
        f"{s.name}{{{','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))}}}": s.value
        for family in text_string_to_metric_families(body.decode())
        for s in family.samples
    }


def selection(*rewards: float | None, winner: int = 0, degraded: tuple[str, ...] = ()) -> Selection:
    candidates = [
        Candidate(
            index,
            CandidateStatus.FAILED if reward is None else CandidateStatus.FINISHED,
            reward=reward,
        )
        for index, reward in enumerate(rewards)
    ]
    return Selection(
        winners=(winner,),
        candidates=tuple(candidates),
        strategy="best_of_n",
        n=len(rewards),
        usage=Usage(prompt_tokens=5, winner_tokens=7, discarded_tokens=11, reward_tokens=13),
        timings=Timings(1.0, 0.1),
        degraded=degraded,
    )


def test_a_selection_is_counted() -> None:
    metrics = Metrics(["a"])
    metrics.observe_selection("a", selection(2.0, 1.0, None, 0.0, degraded=("failed",)), 0.004)
    seen = values(metrics.render()[0])
    assert seen["bon_candidates_total{model=a,status=finished}"] == 3
    assert seen["bon_candidates_total{model=a,status=failed}"] == 1
    tokens = {
        kind: seen[f"bon_tokens_total{{kind={kind},model=a}}"]
        for kind in ("prompt", "winner", "discarded", "reward")
    }
    assert tokens == {"prompt": 5, "winner": 7, "discarded": 11, "reward": 13}
    assert seen["bon_overhead_seconds_sum{model=a,strategy=best_of_n}"] == 0.004
    assert seen["bon_winner_reward_bucket{le=1.0,model=a}"] == 0
    assert seen["bon_winner_reward_bucket{le=2.0,model=a}"] == 1
    assert seen["bon_reward_gain_sum{model=a}"] == 1.0
    assert seen["bon_rewards_total{model=a,of=gain,sign=positive}"] == 1.0
    assert seen["bon_rewards_total{model=a,of=gain,sign=negative}"] == 0.0
    assert seen["bon_degraded_total{model=a,reason=failed}"] == 1


def test_the_mean_reward_of_winners_can_be_told_whatever_their_sign() -> None:
    metrics = Metrics(["a"])
    for won in (-3.0, 1.0, -4.0):
        metrics.observe_selection("a", selection(won), 0.0)
    seen = values(metrics.render()[0])
    positive, negative = (
        seen[f"bon_rewards_total{{model=a,of=winner,sign={sign}}}"]
        for sign in ("positive", "negative")
    )
    assert (positive, negative) == (1.0, 7.0)
    assert (positive - negative) / seen["bon_winner_reward_count{model=a}"] == -2.0


def test_rewards_that_are_missing_or_not_finite_are_left_out() -> None:
    metrics = Metrics(["a"])
    metrics.observe_selection("a", selection(None), 0.0)
    metrics.observe_selection("a", selection(nan, 1.0), 0.0)
    metrics.observe_selection("a", selection(1.0, nan), 0.0)
    seen = values(metrics.render()[0])
    assert seen["bon_winner_reward_count{model=a}"] == 1
    assert "bon_reward_gain_count{model=a}" not in seen


def test_rewards_near_the_largest_float_do_not_make_sums_infinite() -> None:
    metrics = Metrics(["a"])
    for rewards in ((1e308, 1e308, -1.0), (-1e308,), (2.0, 1.0, 1e308)):
        metrics.observe_selection("a", selection(*rewards), 0.0)
    seen = values(metrics.render()[0])
    assert seen["bon_rewards_total{model=a,of=winner,sign=positive}"] == 2.0
    assert seen["bon_reward_gain_sum{model=a}"] == 0.5
    assert seen["bon_rewards_total{model=a,of=gain,sign=positive}"] == 0.5


def test_requests_scores_and_gauges() -> None:
    metrics = Metrics(["a"])
    metrics.observe_request("a", "single", 200, 1.5)
    for error in (None, "reward_unavailable", "reward_refused"):
        metrics.observe_score("r", 0.02, error)
    metrics.observe_discarded("a", 9)
    metrics.set_requests_in_flight(3)
    metrics.set_candidates_in_flight(24)
    metrics.set_upstreams({"p": {"x": "up", "y": "ejected"}, "r": {"z": "warming"}})
    body, content_type = metrics.render()
    seen = values(body)
    assert content_type.startswith("text/plain; version=0.0.4")
    assert seen["bon_requests_total{model=a,status=200,strategy=single}"] == 1
    assert seen["bon_request_duration_seconds_sum{model=a,strategy=single}"] == 1.5
    assert seen["bon_score_seconds_count{reward=r}"] == 3
    assert seen["bon_score_errors_total{code=reward_unavailable,reward=r}"] == 1
    assert seen["bon_score_errors_total{code=reward_refused,reward=r}"] == 1
    assert seen["bon_tokens_total{kind=discarded,model=a}"] == 9
    assert seen["bon_requests_in_flight{}"] == 3
    assert seen["bon_candidates_in_flight{}"] == 24
    upstreams = ("p.x", "p.y", "r.z")
    assert [seen[f"bon_upstream_up{{upstream={u}}}"] for u in upstreams] == [1, 0, 0]
    assert not [name for name in seen if "_created" in name]


def test_replicas_are_counted_by_state_and_those_that_are_gone_are_not_shown() -> None:
    metrics = Metrics(["a"])
    metrics.set_upstreams({"p": {"x": "up", "y": "up", "z": "leaving"}, "r": {}})
    seen = values(metrics.render()[0])
    shown = {name: value for name, value in seen.items() if name.startswith("bon_replicas")}
    assert len(shown) == 10
    assert {name for name, value in shown.items() if value} == {
        "bon_replicas{backend=p,state=leaving}",
        "bon_replicas{backend=p,state=up}",
    }
    assert shown["bon_replicas{backend=p,state=up}"] == 2
    metrics.set_upstreams({"p": {"y": "ejected"}, "r": {}})
    seen = values(metrics.render()[0])
    assert [name for name in seen if name.startswith("bon_upstream_up")] == [
        "bon_upstream_up{upstream=p.y}"
    ]
    assert seen["bon_replicas{backend=p,state=up}"] == 0
    assert seen["bon_replicas{backend=p,state=ejected}"] == 1


def test_a_backend_that_is_gone_from_the_settings_is_not_shown() -> None:
    metrics = Metrics(["a"])
    metrics.set_upstreams({"policies.p": {"x": "up"}})
    metrics.set_upstreams({"policies.q": {"y": "up"}})
    shown = [
        name for name in values(metrics.render()[0]) if "backend=" in name or "upstream=" in name
    ]
    assert shown
    assert all("policies.q" in name for name in shown)


def test_a_model_that_is_served_later_is_a_label_and_one_served_before_stays_one() -> None:
    metrics = Metrics(["a"])
    metrics.know(["b"])
    for model in ("a", "b", "c"):
        metrics.observe_request(model, "single", 200, 0.1)
    seen = values(metrics.render()[0])
    for model in ("a", "b", "unknown"):
        assert seen[f"bon_requests_total{{model={model},status=200,strategy=single}}"] == 1


def test_a_refused_reload_is_shown_and_keeps_the_time_of_the_last_good_one() -> None:
    metrics = Metrics(["a"])
    before = values(metrics.render()[0])
    metrics.reloaded(successful=False)
    after = values(metrics.render()[0])
    success, time = (
        "bon_config_last_reload_successful{}",
        "bon_config_last_reload_timestamp_seconds{}",
    )
    assert (before[success], after[success]) == (1, 0)
    assert after[time] == before[time] > 1e9


def test_names_from_outside_do_not_become_labels() -> None:
    metrics = Metrics(["a"], ["single"])
    for number in range(100):
        metrics.observe_request(f"made-up-{number}", f"made-up-{number}", 404, 0.001)
    metrics.observe_request(None, None, 401, 0.001)
    seen = values(metrics.render()[0])
    totals = {name: v for name, v in seen.items() if name.startswith("bon_requests_total")}
    assert totals == {
        "bon_requests_total{model=unknown,status=404,strategy=unknown}": 100,
        "bon_requests_total{model=unknown,status=401,strategy=unknown}": 1,
    }


def test_strategies_are_those_that_may_be_chosen_and_those_that_are_served() -> None:
    metrics = Metrics(["a"], ["first_k"])
    metrics.know(["a"], ["of_a_plugin"])
    for strategy in ("first_k", "of_a_plugin", "made_up"):
        metrics.observe_request("a", strategy, 200, 0.1)
    text = metrics.render()[0].decode()
    counted = re.findall(r'bon_requests_total{model="a",status="200",strategy="(\w+)"} 1', text)
    assert sorted(counted) == ["first_k", "of_a_plugin", "unknown"]


def test_two_in_one_process_do_not_meet() -> None:
    one, two = Metrics(["a"]), Metrics(["a"])
    one.observe_request("a", "single", 200, 1.0)
    assert "bon_requests_total{model=a,status=200,strategy=single}" not in values(two.render()[0])


WORKER = """
import json, os, sys
from prometheus_client import Gauge
from bon_gateway.metrics import Metrics
metrics = Metrics(["a"])
metrics.observe_request("a", "single", 200, 1.0)
metrics.set_requests_in_flight(2)
Gauge("other_gauge", "Of a library in the same process.").set(1)
metrics.set_upstreams({"p": {"x": sys.argv[1], "y": "up"}})
metrics.set_upstreams({"p": {"x": sys.argv[1]}})
print(json.dumps(metrics.render()[0].decode()), flush=True)
sys.stdin.readline()
print(json.dumps(metrics.render()[0].decode()), flush=True)
if sys.argv[2] == "close":
    metrics.close()
    print(json.dumps(metrics.render()[0].decode()), flush=True)
sys.stdin.readline()
"""


def test_a_worker_that_has_written_nothing_yet_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").touch()
    assert list(_Workers(tmp_path).collect()) == []


def test_several_processes_add_up_and_the_dead_have_nothing_in_flight(tmp_path: Path) -> None:
    def begin(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, MULTIPROCESS_VARIABLE: str(tmp_path)},
        )

    def told(process: subprocess.Popen[str]) -> dict[str, float]:
        assert process.stdout is not None
        return values(json.loads(process.stdout.readline()).encode())

    def go_on(process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    requests = "bon_requests_total{model=a,status=200,strategy=single}"
    with begin("up", "close") as one, begin("ejected", "") as two:
        try:
            assert told(one)[requests] >= 1
            first = told(two)
            two.kill()
            two.wait()
            go_on(one)
            second, closed = told(one), told(one)
        finally:
            one.kill()
            two.kill()
    assert first["bon_upstream_up{upstream=p.x}"] in (0, 1)
    assert second[requests] == 2
    assert second["bon_request_duration_seconds_count{model=a,strategy=single}"] == 2
    assert second["bon_requests_in_flight{}"] == 2
    assert second["bon_upstream_up{upstream=p.x}"] == 1
    assert "bon_upstream_up{upstream=p.y}" not in second
    assert second["bon_replicas{backend=p,state=up}"] == 1
    assert closed[requests] == 2
    assert all(name.startswith("bon_") for name in second)
    assert "bon_requests_in_flight{}" not in closed
