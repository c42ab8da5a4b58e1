"""When there is no break-even, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bon_gateway.compare.figures.results import Results
from bon_gateway.compare.report.write import render
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.bon_gateway.compare.support import BY_GOLD, compare, settings_of

PRICES = {"policy": {"input_per_million": 1.0, "output_per_million": 1.0}}


async def tuned(folder: Path, mean: float, *, n: int = 1, same: bool = False) -> Results:
    """``same``: the tuned arm asks the base policy's own address."""
    async with (
        FakeUpstream(best_of_n(tokens=9, scored=12)) as base,
        FakeUpstream(best_of_n(tokens=9, scored=12, mean=mean)) as other,
    ):
        arms: dict[str, Any] = {
            f"base-{n}": {"url": base.url, "model": "fake", "bon": {"n": n}} for n in (1, 8)
        }
        url = base.url if same else other.url
        arms["dpo"] = {"url": url, "model": "fake", "bon": {"n": n}, "training": "dpo"}
        settings = settings_of(
            folder,
            arms,
            prompts=40,
            quality=BY_GOLD,
            prices=PRICES,
            training={"dpo": {"money": 5.0, "retrains_per_month": 1}},
        )
        return await compare(settings)


async def test_none_while_one_sample_may_be_as_good(tmp_path: Path) -> None:
    results = await tuned(tmp_path, 0.02)
    (one,) = results.tuned
    assert one.matched_n.low == 1
    assert (one.break_even, one.days, one.month_break_even, one.sensitivity) == (None,) * 3 + ({},)
    assert one.undecided == "one sample of the base policy may be as good"
    said = next(sentence for sentence in results.verdict if sentence.startswith("dpo has no"))
    assert "Against one sample of the base policy it has" in said
    assert "not decided (about" in said
    assert "pays back" not in " ".join(results.verdict)
    assert "none: one sample" in render(results, {})


async def test_none_for_one_that_is_worse(tmp_path: Path) -> None:
    (one,) = (await tuned(tmp_path, -3.0)).tuned
    assert one.undecided == "it is worse than one sample of the base policy"


async def test_one_that_is_clearly_better_has_one(tmp_path: Path) -> None:
    (one,) = (await tuned(tmp_path, 1.0)).tuned
    assert one.undecided is None
    assert one.break_even is not None
    assert one.above_one.decided


async def test_the_base_policy_at_the_same_address_is_called_so(tmp_path: Path) -> None:
    """Best-of-8 of it has a matched N far above 1, and yet nothing was trained."""
    results = await tuned(tmp_path, 0.0, n=8, same=True)
    (one,) = results.tuned
    assert one.break_even is None
    said = "dpo is the base policy: it asks the same model at the same address as base-1."
    assert said in results.verdict
    assert "dpo has no break-even: it is the base policy." in results.verdict
    assert "dpo, which is the base policy" in render(results, {})


async def test_the_base_policy_under_another_name_is_known_by_its_answers(tmp_path: Path) -> None:
    results = await tuned(tmp_path, 0.0, n=8)
    said = "dpo is the base policy: it gives the same answers as base-8 at all 40 requests."
    assert said in results.verdict
    assert {arm.name: arm.same_as_base for arm in results.arms}["base-8"] is None
