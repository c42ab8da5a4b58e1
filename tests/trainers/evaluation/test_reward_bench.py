from __future__ import annotations

import pytest

from trainers.evaluation.reward_bench import SECTIONS, RewardBench


def wins(**shares: tuple[int, int]) -> list[tuple[str, bool]]:
    """Subsets, with `_` for `-`, and how many wins of how many prompts each has."""
    return [
        (name.replace("_", "-"), index < won)
        for name, (won, total) in shares.items()
        for index in range(total)
    ]


def test_subsets_count_by_their_published_size() -> None:
    """Not by the number of lines: three lines of one, one line of the other."""
    found = RewardBench.of(wins(math_prm=(3, 3), hep_go=(0, 1)))
    assert found.sections == {"Reasoning": pytest.approx(984 / (984 + 164))}
    assert found.subsets == {"hep-go": 0.0, "math-prm": 1.0}
    assert found.prompts == 4
    assert len(found.missing) == 21
    assert "math-prm" not in found.missing


def test_math_counts_as_much_as_all_code() -> None:
    code = {f"hep_{name}": (0, 1) for name in ("cpp", "go", "java", "js", "python", "rust")}
    assert RewardBench.of(wins(math_prm=(1, 1), **code)).overall == pytest.approx(0.5)


def test_sections_count_alike_and_prior_sets_half() -> None:
    lines = wins(alpacaeval_easy=(4, 4), mt_bench_hard=(3, 4), donotanswer=(2, 4), hep_rust=(1, 4))
    alone = RewardBench.of(lines)
    assert alone.overall == pytest.approx((1 + 0.75 + 0.5 + 0.25) / 4)
    assert alone.prior_sets is None
    prior = [("shp", True), ("shp", False), ("summarize", True), ("mtbench_human", False)]
    both = RewardBench.of(lines, prior)
    assert both.prior_sets == pytest.approx(0.75)
    assert both.overall == pytest.approx((2 * 2.5 + 0.75) / 9)


def test_the_published_sizes_add_up() -> None:
    sizes = [sum(weights.values()) for weights in SECTIONS.values()]
    assert sizes == [358, 456, 740, 2 * 984]


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="no subset of RewardBench among Factuality"):
        RewardBench.of([("Factuality", True)])
