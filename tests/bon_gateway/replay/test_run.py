"""A whole replay: the rows, what they are compared with, and what is said of the pools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bon_common.best_of_n import best_of_n
from bon_common.settings.errors import SettingsError
from bon_gateway.replay.results import ReplayResults, ReplayRow
from bon_gateway.replay.run import run
from tests.bon_gateway.replay.kit import candidate, candidates, line, settings_of, write

REWARDS = [0.0, 1.0, 2.0, 3.0]
GOLDS = [0.0, 1.0, 1.0, 0.0]
TOKENS = [10, 20, 30, 40]
SINGLE: dict[str, Any] = {"one": {"type": "single"}}


def silent(_: str) -> None:
    return None


def replayed(path: Path, strategies: dict[str, Any] | None = None, **more: Any) -> ReplayResults:
    return run(settings_of(path, strategies or SINGLE, **more), silent)


def rows(results: ReplayResults) -> dict[str, ReplayRow]:
    return {row.name: row for row in results.rows}


@pytest.fixture
def pools(tmp_path: Path) -> Path:
    drawn = candidates(REWARDS, golds=GOLDS, tokens=TOKENS)
    return write(tmp_path / "pools.jsonl", [line(drawn, f"prompt {i}") for i in range(3)])


def test_rows_of_pools_that_are_alike_are_exact(pools: Path) -> None:
    """All of a pool is drawn, so that no order matters, and all prompts are alike."""
    found = replayed(pools, {"all": {"type": "best_of_n", "n": 4}})
    row = rows(found)
    assert (found.base, found.n, found.prompts) == ("all", 4, 3)
    assert [*row] == ["all", "random choice", "oracle"]
    best, chance, oracle = row.values()
    assert (best.tokens.value, best.drawn, best.rounds, best.scored) == (100, 4, 1, 4)
    assert best.scored_tokens == 100
    assert best.reward is not None
    assert (best.reward.low, best.reward.value, best.reward.high) == (3, 3, 3)
    assert best.gold is not None
    assert best.gold.value == 0
    assert best.beside is None
    assert chance.tokens.value == 25
    assert chance.beside is not None
    assert chance.beside.tokens_percent.value == 25
    assert chance.beside.reward is not None
    assert chance.beside.reward.value == pytest.approx(1.5 - 3)
    assert chance.beside.gold is not None
    assert chance.beside.gold.value == pytest.approx(0.5)
    assert chance.latency.value == pytest.approx(25 * 20)
    assert oracle.gold is not None
    assert oracle.gold.value == pytest.approx(best_of_n(GOLDS, GOLDS, 4))
    assert oracle.reward is not None
    assert oracle.reward.value == pytest.approx(1.5)
    assert oracle.tokens == best.tokens


def test_the_base_is_added_as_the_largest_power_of_two(tmp_path: Path) -> None:
    lines = [line(candidates([1.0] * size), f"{size}") for size in (7, 9)]
    found = replayed(write(tmp_path / "p.jsonl", lines))
    assert (found.base, found.n) == ("best_of_n n=4", 4)
    assert [row.name for row in found.rows] == ["best_of_n n=4", "one", "random choice"]
    found = replayed(tmp_path / "p.jsonl", {"mine": {"type": "best_of_n", "n": 3}}, n=3)
    assert (found.base, [*rows(found)]) == ("mine", ["mine", "random choice"])


def test_a_base_that_is_too_large_is_an_error(pools: Path) -> None:
    with pytest.raises(SettingsError, match="best_of_n n=5: draws 5 candidates, and the smallest"):
        replayed(pools, n=5)


def test_requests_of_one_prompt_are_one_unit(tmp_path: Path) -> None:
    """Twice the first prompt, once the second: the mean over prompts, not over requests."""
    lines = [
        line(candidates([1.0], tokens=[10]), "a"),
        line(candidates([2.0], tokens=[30]), "a"),
        line(candidates([6.0], tokens=[80]), "b"),
    ]
    found = replayed(write(tmp_path / "p.jsonl", lines))
    assert (found.requests, found.prompts) == (3, 2)
    one = rows(found)["one"]
    assert one.tokens.value == (20 + 80) / 2
    assert one.reward is not None
    assert one.reward.value == (1.5 + 6) / 2


def test_percent_is_of_what_all_prompts_cost(tmp_path: Path) -> None:
    lines = [
        line(candidates([0.0, 1.0], tokens=[10, 10]), "a"),
        line(candidates([0.0, 1.0], tokens=[500, 500]), "b"),
    ]
    beside = rows(replayed(write(tmp_path / "p.jsonl", lines)))["one"].beside
    assert beside is not None
    assert beside.tokens_percent.value == pytest.approx(50)
    assert beside.tokens_percent.low == pytest.approx(50)


def greedy_of(tmp_path: Path, prompts: list[str], **more: Any) -> Path:
    answer = {"role": "assistant", "content": "answer 2"}
    drawn = [candidate(0, reward=None, gold=1.0, tokens=12, message=answer)]
    lines = [line(drawn, prompt, **{"sampling": {"temperature": 0}, **more}) for prompt in prompts]
    return write(tmp_path / "greedy.jsonl", lines)


def test_greedy_answers_stand_beside(pools: Path, tmp_path: Path) -> None:
    """Nobody scored them, and the pools know the reward of the same text."""
    greedy = greedy_of(tmp_path, ["prompt 2", "prompt 0", "prompt 1", "prompt 9"])
    row = rows(replayed(pools, greedy=str(greedy)))["greedy"]
    assert row.tokens.value == 12
    assert row.gold is not None
    assert row.gold.value == 1
    assert row.reward is not None
    assert row.reward.value == 2
    assert row.latency_p95 == pytest.approx(240)


@pytest.mark.parametrize(
    ("prompts", "more", "reason"),
    [
        (["prompt 0"], {}, "greedy: 2 of 3 requests have no greedy answer, the first is"),
        (["prompt 0"], {"sampling": {"temperature": 0.7}}, "drawn at temperature 0.7, not greedy"),
        (["prompt 0"], {"policy": "tuned"}, "of policy tuned, and the pools are of base"),
    ],
)
def test_greedy_answers_that_do_not_fit_are_refused(
    pools: Path, tmp_path: Path, prompts: list[str], more: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        replayed(pools, greedy=str(greedy_of(tmp_path, prompts, **more)))


def test_an_unknown_reward_leaves_its_prompt_out_of_that_comparison(tmp_path: Path) -> None:
    lines = [
        line(candidates([1.0, 2.0], golds=[0.0, 1.0]), "a"),
        line(candidates([5.0, None], golds=[0.0, 1.0]), "b"),
    ]
    found = replayed(write(tmp_path / "p.jsonl", lines), {"all": {"type": "best_of_n", "n": 2}})
    best = rows(found)["all"]
    assert (found.known_rewards, found.known_golds) == (1, 2)
    assert best.reward is not None
    assert best.reward.value == 2
    assert best.gold is not None
    assert best.gold.value == 0.5
    assert (
        "The reward of answers is compared at 1 of 2 prompts; at the others it is not known of"
        " every candidate."
    ) in found.warnings
    assert best.degraded == {"reward_refused": 3}


def test_an_error_is_the_worst_answer_of_its_pool(tmp_path: Path) -> None:
    drawn = candidates([1.0, 3.0], tokens=[50, 60], golds=[0.25, 1.0])
    found = replayed(
        write(tmp_path / "p.jsonl", [line(drawn)]),
        {"late": {"type": "best_of_n", "n": 2, "deadline_ms": 100}},
    )
    late = rows(found)["late"]
    assert late.failed == 3
    assert late.reward is not None
    assert late.reward.value == 1
    assert late.gold is not None
    assert late.gold.value == 0.25
    assert late.tokens.value == 10
    assert "late: 3 replays ended in an error." in found.warnings


def test_without_rewards_it_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [line(candidates([None, None], golds=[0.0, 1.0]))])
    found = replayed(path, {"vote": {"type": "majority", "n": 2}})
    assert rows(found)["vote"].reward is None
    assert rows(found)["oracle"].reward is None
    assert any(warning.startswith("No prompt has the rewards") for warning in found.warnings)


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    drawn = [
        candidate(0),
        candidate(1),
        candidate(2, status="rejected", message=None),
        candidate(3, status="invalid", message={"role": "assistant", "content": ""}),
    ]
    lines = [line(drawn), line([], error="upstream_error"), line([candidate(0)])]
    warnings = replayed(write(tmp_path / "p.jsonl", lines), at_least=2).warnings
    assert warnings[:5] == (
        "1 requests without a candidate to draw were left out.",
        "1 requests with fewer than 2 candidates to draw were left out.",
        "1 candidates recorded as rejected were left out: they have no whole answer.",
        (
            "Rejected candidates were the slow ones, so these pools lack long answers. Record with"
            " best_of_n and without a deadline."
        ),
        "1 candidates recorded as invalid are drawn, and judged again.",
    )


def test_what_is_judged_otherwise_is_said(tmp_path: Path) -> None:
    text = {"role": "assistant", "content": "not json"}
    drawn = [candidate(0), candidate(1, status="invalid", message=text, reward=None)]
    found = replayed(write(tmp_path / "p.jsonl", [line(drawn)]))
    assert any(w.startswith("3 of 6 draws of plain best-of-N are judged") for w in found.warnings)


def test_a_strategy_says_what_it_lacks(pools: Path) -> None:
    hook = {"type": "hook", "function": "no_such_module:choose", "n": 2}
    with pytest.raises(SettingsError, match=r"^replay: strategies\.mine\.function: "):
        replayed(pools, {"mine": hook})


def test_a_strategy_that_asks_another_policy_is_refused(pools: Path) -> None:
    cascade = {"type": "cascade", "first": "small", "threshold": 1, "n": 2}
    with pytest.raises(ValueError, match=r"strategies\.mine\.first: there is no policy 'small'"):
        replayed(pools, {"mine": cascade})


def test_a_name_of_a_row_is_refused(pools: Path) -> None:
    with pytest.raises(ValueError, match="the report has a row of that name already"):
        replayed(pools, {"greedy": {"type": "single"}})
    with pytest.raises(SettingsError, match="all are compared with the best_of_n of that name"):
        replayed(pools, {"best_of_n n=4": {"type": "single"}})


def several(tmp_path: Path) -> Path:
    """Of each pool the last is the best by `a`, the first by `b`, the second by both together."""
    worths = [(0.0, 20.0), (2.0, 18.0), (3.0, 0.0), (None, 30.0)]
    drawn = [
        candidate(i, reward=9.0, rewards={"b": b} | ({} if a is None else {"a": a}), gold=float(i))
        for i, (a, b) in enumerate(worths)
    ]
    return write(tmp_path / "several.jsonl", [line(drawn, f"prompt {i}") for i in range(3)])


@pytest.mark.parametrize(
    ("more", "gold"),
    [
        ({"rewards": [{"reward": "a"}]}, 2),
        ({"rewards": [{"reward": "b"}]}, 3),
        ({"rewards": [{"reward": "a"}, {"reward": "b"}]}, 1),
        ({"rewards": [{"reward": "a", "weight": 50}, {"reward": "b"}]}, 2),
        (
            {"rewards": [{"reward": "a", "mean": 0, "std": 100}, {"reward": "b"}]}
            | {"combine": "lexicographic"},
            0,
        ),
    ],
    ids=["a", "b", "both", "a counts most", "b decides between equals"],
)
def test_several_recorded_rewards_choose_together(
    tmp_path: Path, more: dict[str, Any], gold: float
) -> None:
    found = replayed(several(tmp_path), {"all": {"type": "best_of_n", "n": 4}}, **more)
    best = rows(found)["all"].gold
    assert best is not None
    assert best.value == gold
    assert "Chosen by" in found.setup


def test_the_reward_that_served_may_be_a_member(tmp_path: Path) -> None:
    drawn = [candidate(i, rewards={"weak": -float(i)}, gold=float(i)) for i in range(3)]
    path = write(tmp_path / "p.jsonl", [line(drawn, f"prompt {i}") for i in range(2)])
    served = line(drawn)["reward"]
    both = [{"reward": served, "weight": 2}, {"reward": "weak"}]
    best = rows(replayed(path, {"all": {"type": "best_of_n", "n": 3}}, rewards=both))["all"].gold
    assert best is not None
    assert best.value == 2


def test_a_reward_that_was_not_recorded_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no candidate has a reward 'c'; known: a, b, "):
        replayed(several(tmp_path), rewards=[{"reward": "a"}, {"reward": "c"}])
