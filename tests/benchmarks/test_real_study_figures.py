"""All figures of a tiny study, its page, and that the repository's page agrees with its figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.real_study import candidate, line, module

figures = module("figures")
layout = module("layout")
page = module("page")
plots = module("plots")
pools = module("pools")
tables = module("tables")

ROOT = Path(__file__).parents[2]
PROMPTS = 24
SMALL = layout.SMOKE


def lines_of(arm: Any) -> list[dict[str, Any]]:
    """Every other answer is right, and the reward model sees it, but for the last prompt."""
    found = []
    for place in range(PROMPTS):
        drawn = []
        for number in range(arm.n):
            right = (place + number) % 2
            reward = float(right if place < PROMPTS - 1 else -right) + number / 100
            more = {f"first {share:g}": reward * share for share in layout.SHARES}
            drawn.append(
                candidate(
                    f"answer {number % 3} of {arm.name}" + " and so on" * (number % 2), right,
                    reward, logprob=-1.0 - number, rewards={"weak": float(number), **more},
                )
            )  # fmt: skip
        rewards = [one["reward"] for one in drawn]
        winner, name = rewards.index(max(rewards)), f"{arm.name}-tag-{place:05}"
        found.append(line(f"prompt {place}", drawn, winner=winner, request_id=name))
    return found


def study(wanted: Callable[[str], bool] = lambda _: True) -> dict[str, Any]:
    lines = {arm.name: lines_of(arm) for arm in SMALL.arms() if wanted(arm.name)}
    read = {name: [pools.pool_of(one) for one in found] for name, found in lines.items()}
    times = [{"id": lines["sft-pool"][0]["request_id"], "seconds": 2.0, "alone": True}]
    found: dict[str, Any] = figures.all_figures(figures.same_prompts(read), lines, times)
    return {**found, "seconds": {"sft": 60.0}, "machine": "x86_64"}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return study()


def test_rows_are_what_a_hand_computes(made: dict[str, Any]) -> None:
    rows = made["rows"]
    # One candidate an arm: every other prompt is right.
    assert rows["sft, greedy"]["accuracy"]["value"] == 0.5
    assert rows["sft, greedy"]["difference"]["value"] == 0
    # Of four candidates two are right; all but the last prompt choose one of these.
    assert rows["sft, best of 4 by reward model"]["accuracy"]["value"] == pytest.approx(23 / 24)
    assert rows["sft, best of 4 by oracle"]["accuracy"]["value"] == 1
    assert rows["sft, best of 4 by reward model"]["way"]["value"] == pytest.approx(11 / 12)
    assert made["curves"]["random"][-1]["value"] == 0.5
    assert made["agreement"] == {"requests": PROMPTS, "same": PROMPTS}
    assert made["latency"]["sft-pool"]["median"] == 2.0


def test_a_policy_that_was_not_measured_is_not_there() -> None:
    found = study(lambda name: not name.startswith("ppo"))
    assert not any(name.startswith("ppo") for name in found["rows"])
    written = page.placed(page.skeleton("pictures"), json.loads(json.dumps(found)))
    assert "ppo" not in written.partition("## Latency")[0]


def test_only_prompts_of_all_arms_count() -> None:
    both = {"a": [pools.pool_of(one) for one in lines_of(SMALL.arm("sft-pool"))]}
    both["b"] = both["a"][:4]
    assert {len(found) for found in figures.same_prompts(both).values()} == {4}


def test_partial_rewards_that_are_shares_of_the_whole_go_with_it(made: dict[str, Any]) -> None:
    for row in made["partial"]:
        assert row["rho"]["value"] == pytest.approx(1)
        assert (row["prompts"], row["answers"]) == (PROMPTS, 4 * PROMPTS)


def test_beginnings_have_their_rewards_up_to_the_last_token() -> None:
    texts = ["a b c d e", "a b c"]
    lines = [line("?", [candidate(text, 1.0, 2.0) for text in texts])]
    known = {
        "after 4": {"a b c d e": 0.5, "a b c": 0.1},
        "after 8": {},
        "after 16": {"a b c d e": 7.0},
        "weak": {"a b c": 1.5},
    }
    [found] = figures.with_rewards(lines, {"?": known})
    long, short = found["candidates"]
    # Of 6 tokens and of 4: the last one ends the answer, and what is said then is the whole.
    assert (long["rewards"], long["partial_rewards"]) == ({}, [[4, 0.5]])
    assert (short["rewards"], "partial_rewards" in short) == ({"weak": 1.5}, False)


def test_rewards_of_other_models_stand_beside_the_candidates() -> None:
    lines = [line("?", [candidate("2", 1), candidate("3", 0)])]
    [found] = figures.with_rewards(lines, {"?": {"weak": {"2": 1.5}, "first 0.5": {}}})
    assert [one["rewards"] for one in found["candidates"]] == [{"weak": 1.5}, {}]


def test_figures_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        figures.finite({"a": [1.0, float("nan")]})


def test_a_page_has_all_tables_and_keeps_its_prose(made: dict[str, Any], tmp_path: Path) -> None:
    plain = json.loads(json.dumps(made))
    first = page.placed(page.skeleton("pictures"), plain)
    assert first.count("| --- |") >= len(tables.SECTIONS) - 1
    written = first.replace("## Best of n\n", "## Best of n\n\nBy hand.\n")
    again = page.placed(written, plain)
    assert again == written
    with pytest.raises(ValueError, match="no place for curves"):
        page.placed(written.replace(page.end("curves"), ""), plain)
    names = plots.draw_pictures(plain, tmp_path)
    assert {f"{name}.svg" for name in plots.CAPTIONS} == set(names)
    for name in plots.CAPTIONS:
        assert f"pictures/{name}.svg" in first


def test_the_repositorys_page_says_what_its_figures_say() -> None:
    kept = ROOT / layout.KEPT / "figures.json"
    if not kept.exists():
        pytest.skip("no study is kept in the repository")
    written = (ROOT / layout.PAGE).read_text(encoding="utf-8")
    assert page.placed(written, page.read_figures(kept)) == written
    for name in plots.CAPTIONS:
        assert (ROOT / layout.PICTURES / f"{name}.svg").exists()


def test_the_repositorys_pools_give_its_figures() -> None:
    folder = ROOT / layout.KEPT / "pools"
    if not folder.exists():
        pytest.skip("no study is kept in the repository")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 10_000_000
    kept = page.read_figures(folder.parent / "figures.json")
    found = pools.read_pools(folder / "sft-pool.jsonl.gz")
    assert len(found) >= kept["prompts"]
    greedy = pools.read_pools(folder / "sft-greedy.jsonl.gz")
    if len(greedy) == kept["prompts"]:
        right = sum(one.answer.gold for one in greedy) / len(greedy)
        value = kept["rows"]["sft, greedy"]["accuracy"]["value"]
        assert right == pytest.approx(value)


def test_labels_of_near_values_stand_apart_in_their_order() -> None:
    places = plots.apart({"b": 0.481, "a": 0.473, "c": 0.57}, 0.02)
    assert [*places] == ["a", "b", "c"]
    assert places["a"] == 0.473
    assert places["b"] == pytest.approx(0.493)
    assert places["c"] == 0.57
