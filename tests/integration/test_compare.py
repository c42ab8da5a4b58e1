"""`bon-gateway compare` on real engines: best-of-N of the base policy against tuned ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import Engines
from tests.integration.gateway import Gateway
from tests.integration.served import LIMIT, POLICIES, Served

pytestmark = pytest.mark.vllm
SIZES = (1, 4, 8)
TIMEOUT_S = 240


def gateway_settings(engines: Engines, served: Served) -> dict[str, Any]:
    """One gateway, as it would run: the base policy with its reward model, tuned ones alone."""
    urls = {name: policy.engine.url for name, policy in served.policies.items()}
    return {
        "policies": {
            name: {"type": "vllm", "urls": [url]}
            for name, url in {"base": engines.generator.url, **urls}.items()
        },
        "rewards": {
            "helpful": {"type": "reward_server", "urls": [engines.reward_server.url]},
        },
        "models": {
            "base": {
                "policy": "base",
                "reward": "helpful",
                "strategy": {"type": "best_of_n", "n": max(SIZES)},
            },
            **{name: {"policy": name, "strategy": {"type": "single"}} for name in POLICIES},
        },
    }


def comparison(url: str, served: Served, folder: Path) -> dict[str, Any]:
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in served.prompts), "utf-8")
    base = {f"base-{n}": {"url": url, "model": "base", "bon": {"n": n}} for n in SIZES}
    tuned = {name: {"url": url, "model": name, "training": name} for name in POLICIES}
    return {
        "arms": {**base, **tuned},
        "prompts": {"file": str(prompts)},
        "sampling": {"temperature": 1.0, "max_tokens": LIMIT},
        "load": {"concurrency": 2},
        "quality": {
            "scorers": {
                "gold": {"hook": {"function": "trainers.demo.gold:gold", "field": "total"}}
            },
            "primary": "gold",
        },
        "prices": {
            "policy": {"input_per_million": 0.2, "output_per_million": 0.6},
            "reward": {"input_per_million": 0.1},
        },
        # What the trainers themselves have written down.
        "training": {
            name: {"records": [str(served.policies[name].run)], "hour": 2.0} for name in POLICIES
        },
        "output": str(folder / "compared"),
    }


@pytest.fixture(scope="module")
def compared(
    engines: Engines,
    served: Served,
    start_gateway: Callable[[dict[str, Any]], Gateway],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Any], list[dict[str, Any]], float]:
    """Results, records, and the tokens that the base policy's engine has generated meanwhile."""
    folder = tmp_path_factory.mktemp("compare")
    gateway = start_gateway(gateway_settings(engines, served))
    config = folder / "compare.yaml"
    config.write_text(yaml.safe_dump(comparison(gateway.url, served, folder)), "utf-8")
    before = engines.generator.generated
    done = subprocess.run(
        [sys.executable, "-m", "bon_gateway", "compare", "--config", str(config)],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    generated = engines.generator.generated - before
    print(done.stdout)
    output = folder / "compared"
    assert (output / "report.html").stat().st_size > 10_000
    lines = (output / "records.jsonl").read_text("utf-8").splitlines()
    results = json.loads((output / "results.json").read_text("utf-8"))
    return results, [json.loads(line) for line in lines], generated


Compared = tuple[dict[str, Any], list[dict[str, Any]], float]


def test_every_arm_answers(compared: Compared, served: Served) -> None:
    results, _, _ = compared
    arms = {arm["name"]: arm for arm in results["arms"]}
    assert set(arms) == {*(f"base-{n}" for n in SIZES), *POLICIES, "greedy"}
    for arm in arms.values():
        assert (arm["asked"], arm["answered"]) == (len(served.prompts),) * 2, arm["failures"]
        assert (arm["unscored"], arm["unmetered"], arm["degraded"]) == (0, 0, {})
    assert [arms[name]["n"] for name in ("base-1", "base-4", "base-8", *POLICIES)] == [
        1, 4, 8, 1, 1,
    ]  # fmt: skip


def test_usage_is_what_the_engine_counts(compared: Compared) -> None:
    """Warm-up included; the gateway's own warm-up was before."""
    _, records, generated = compared
    base = (*(f"base-{n}" for n in SIZES), "greedy")
    paid = sum(r["completion_tokens"] for r in records if r["key"]["arm"] in base)
    assert paid == generated


def test_more_candidates_cost_more_and_are_worth_more(compared: Compared) -> None:
    results, _, _ = compared
    base = [a for a in results["arms"] if a["training"] is None and not a["greedy"]]
    costs = [arm["cost"]["value"] for arm in base]
    rewards = [arm["quality"]["gold"]["value"] for arm in base]
    assert costs == sorted(costs)
    assert costs[2] > 4 * costs[0]
    # The shipped reward model lifts gold by more than 1 from N = 1 to 8.
    assert rewards[2] > rewards[0]


def test_each_tuned_policy_has_its_verdict(compared: Compared) -> None:
    results, _, _ = compared
    assert {one["arm"] for one in results["tuned"]} == set(POLICIES)
    for one in results["tuned"]:
        # A few updates of a policy of 0.8M parameters: seconds, but not none.
        assert 0 < one["training_money"] < 1
        assert one["sound"]
        assert one["tuned_cost"]["value"] < one["bon_cost"]["value"] or one["compared_n"] == 1
        assert (one["break_even"] is None) == (one["undecided"] is not None)
    told = " ".join(results["verdict"])
    assert all(name in told for name in POLICIES)
