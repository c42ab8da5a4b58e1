from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from bon_gateway.backends.policy.embedded.params import SamplingParams
from bon_gateway.backends.policy.embedded.sampler import (
    BLOCK,
    TOP_P_PREFIXES,
    TokenSampler,
    draw_tokens,
    filter_logits,
    penalise,
)

CPU = torch.device("cpu")


def reference_filter(logits: list[float], min_p: float, top_k: int, top_p: float) -> set[int]:
    """Which tokens stay, by the definitions and in plain Python; no ties."""
    kept = set(range(len(logits)))

    def probabilities() -> dict[int, float]:
        highest = max(logits)
        weights = {i: math.exp(logits[i] - highest) for i in kept}
        return {i: weight / sum(weights.values()) for i, weight in weights.items()}

    p = probabilities()
    kept = {i for i in kept if p[i] >= min_p * max(p.values())}
    if top_k:
        kept = set(sorted(kept, key=lambda i: -logits[i])[:top_k])
    p = probabilities()
    nucleus: set[int] = set()
    mass = 0.0
    for i in sorted(kept, key=lambda i: -logits[i]):
        if mass >= top_p:
            break
        nucleus.add(i)
        mass += p[i]
    return nucleus


def sampler(
    params: SamplingParams, seeds: list[int], vocabulary: int, banned: Sequence[int] = ()
) -> TokenSampler:
    return TokenSampler(params, [0], seeds, banned=banned, vocabulary=vocabulary, device=CPU)


def chi_square_limit(freedom: int) -> float:
    """Above this a right sampler comes once in 10,000 times (Wilson and Hilferty)."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + 3.719 * math.sqrt(spread)) ** 3)


def chi_square(counts: Tensor, probabilities: Tensor) -> float:
    expected = probabilities.double() * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("seed", range(40))
def test_filters_keep_what_their_definitions_say(seed: int) -> None:
    torch.manual_seed(seed)
    logits = torch.randn(6, 50) * 3
    min_p = float(torch.rand(())) * 0.2 * (seed % 2)
    top_k = int(torch.randint(1, 50, ())) * (seed // 2 % 2)
    top_p = float(torch.rand(())) * 0.9 + 0.1 if seed // 4 % 2 else 1.0
    kept = filter_logits(logits, min_p, top_k, top_p)
    for row, before in zip(kept, logits, strict=True):
        expected = reference_filter(before.tolist(), min_p, top_k, top_p)
        assert set(row.isfinite().nonzero()[:, 0].tolist()) == expected
        assert torch.equal(row[row.isfinite()], before[row.isfinite()])


@pytest.mark.parametrize("spread", [0.001, 8.0, 100.0])
def test_top_p_is_exact_in_a_large_vocabulary(spread: float) -> None:
    """The flatter a distribution, the longer the prefix in which its border lies."""
    torch.manual_seed(0)
    size = 2 * TOP_P_PREFIXES[-1]
    logits = (torch.randperm(size).float() / size * spread)[None]
    kept = filter_logits(logits, 0.0, 0, 0.7)[0].isfinite()
    assert set(kept.nonzero()[:, 0].tolist()) == reference_filter(logits[0].tolist(), 0, 0, 0.7)


def test_ties_at_a_border_stay_together() -> None:
    logits = torch.tensor([[1.0, 2.0, 2.0, 0.0]])
    assert filter_logits(logits, 0.0, 1, 1.0).isfinite().tolist() == [[False, True, True, False]]
    assert filter_logits(logits, 0.0, 0, 0.1).isfinite().tolist() == [[False, True, True, False]]


def test_something_always_stays() -> None:
    logits = torch.tensor([[0.0, 5.0, -torch.inf]])
    assert filter_logits(logits, 1.0, 1, 1e-9).isfinite().tolist() == [[False, True, False]]


def test_penalties_are_vllms() -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0, 1.0]])
    counts = torch.tensor([[0.0, 0.0, 3.0, 1.0, 0.0]])
    in_prompt = torch.tensor([True, True, False, False, False])
    params = SamplingParams(repetition_penalty=2.0, frequency_penalty=0.5, presence_penalty=0.25)
    expected = [[1.0, -4.0, 1.0 - 1.5 - 0.25, -4.0 - 0.5 - 0.25, 1.0]]
    assert penalise(logits, counts, in_prompt, params).tolist() == expected


def test_the_uniform_number_picks_its_part_of_the_line() -> None:
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]]).repeat(5, 1)
    uniforms = torch.tensor([0.0, 0.2499, 0.25, 0.9, 1 - 2**-53], dtype=torch.float64)
    assert draw_tokens(probabilities, uniforms).tolist() == [1, 1, 3, 3, 3]


def test_rounding_never_leads_behind_the_last_token() -> None:
    """In float32 the product of this number and the total is the total."""
    probabilities = torch.tensor([[0.1, 0.2, 0.3, 0.0]])
    assert draw_tokens(probabilities, torch.ones(1, dtype=torch.float64)).tolist() == [2]


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(temperature=0.6),
        SamplingParams(temperature=1.7, top_k=5),
        SamplingParams(top_p=0.8),
        SamplingParams(min_p=0.2),
        SamplingParams(logit_bias={3: 2.0}, top_k=7, top_p=0.9),
    ],
)
def test_seeds_sample_the_distribution(params: SamplingParams) -> None:
    """Neighbouring seeds too are independent draws."""
    torch.manual_seed(1)
    logits = torch.randn(12)
    biased = logits.clone()
    for token, bias in (params.logit_bias or {}).items():
        biased[token] += bias
    scaled = (biased / params.temperature).tolist()
    kept = sorted(reference_filter(scaled, params.min_p, params.top_k, params.top_p))
    probabilities = torch.tensor(scaled, dtype=torch.float64)[kept].softmax(0)
    drawn = sampler(params, list(range(4000)), 12).sample(logits.expand(4000, -1))
    counts = torch.bincount(drawn, minlength=12)
    assert counts.sum() == counts[kept].sum()
    assert chi_square(counts[kept], probabilities) < chi_square_limit(len(kept) - 1)


def test_steps_sample_the_distribution() -> None:
    torch.manual_seed(2)
    logits = torch.randn(10)
    one = sampler(SamplingParams(), list(range(20)), 10)
    drawn = torch.stack([one.sample(logits.expand(20, -1)) for _ in range(4 * BLOCK)])
    counts = torch.bincount(drawn.flatten(), minlength=10)
    assert chi_square(counts, logits.softmax(0)) < chi_square_limit(9)
    pairs = torch.bincount((drawn[:-1] * 10 + drawn[1:]).flatten(), minlength=100)
    both = torch.outer(logits.softmax(0), logits.softmax(0)).flatten()
    assert chi_square(pairs, both) < chi_square_limit(99)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(3)
    steps = [torch.randn(1, 30).expand(8, -1) for _ in range(2 * BLOCK + 3)]
    together = sampler(SamplingParams(), list(range(8)), 30)
    rows = torch.stack([together.sample(step) for step in steps])
    for seed in range(8):
        alone = sampler(SamplingParams(), [seed], 30)
        assert [int(alone.sample(step[:1])) for step in steps] == rows[:, seed].tolist()


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_row_goes_on_as_it_was_when_others_leave(penalty: float) -> None:
    torch.manual_seed(4)
    params = SamplingParams(frequency_penalty=penalty)
    steps = [torch.randn(1, 30) for _ in range(20)]
    whole, thinned = (sampler(params, [5, 6, 7], 30) for _ in range(2))
    for step in steps[:10]:
        assert torch.equal(whole.sample(step.expand(3, -1)), thinned.sample(step.expand(3, -1)))
    thinned.select([0, 2])
    for step in steps[10:]:
        expected = whole.sample(step.expand(3, -1))[[0, 2]]
        assert torch.equal(thinned.sample(step.expand(2, -1)), expected)


def test_penalties_count_what_was_generated() -> None:
    one = sampler(SamplingParams(temperature=0, frequency_penalty=1.0), [0], 3)
    logits = torch.tensor([[1.0, 0.6, -0.1]])
    assert [int(one.sample(logits)) for _ in range(5)] == [0, 1, 0, 2, 1]


def test_nothing_ends_before_min_tokens() -> None:
    one = sampler(SamplingParams(temperature=0, min_tokens=2), [0], 3, banned=[2])
    logits = torch.tensor([[0.0, 1.0, 9.0]])
    assert [int(one.sample(logits)) for _ in range(3)] == [1, 1, 2]


def test_the_given_logits_stay_as_they_are() -> None:
    params = SamplingParams(
        temperature=0.5,
        top_k=2,
        top_p=0.9,
        min_p=0.1,
        logit_bias={0: 1.0},
        repetition_penalty=2.0,
        min_tokens=1,
    )
    logits = torch.randn(2, 9)
    before = logits.clone()
    sampler(params, [0, 1], 9, banned=[3]).sample(logits)
    assert torch.equal(logits, before)


def test_logits_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(FloatingPointError):
        sampler(SamplingParams(), [0], 3).sample(torch.tensor([[0.0, torch.nan, 0.0]]))


@pytest.mark.parametrize("seed", [-1, 2**63 - 1, 2**63 + 7, -(2**63)])
def test_any_seed_is_taken(seed: int) -> None:
    logits = torch.randn(1, 9)
    one, same = (sampler(SamplingParams(), [seed], 9) for _ in range(2))
    assert torch.equal(one.sample(logits), same.sample(logits))
