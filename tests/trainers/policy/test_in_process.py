"""Sampling: exact ids, ends, seeds, and the distribution it draws from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainers.policy.frozen import load_frozen
from trainers.policy.in_process import NUCLEUS_PREFIXES, InProcessGenerator, nucleus
from trainers.policy.sequences import Sequences

PROMPTS = [[5, 6, 7, 8, 9, 10], [11, 12], [13, 14, 15]]
ENDS = frozenset(range(300, 400))
Make = Callable[..., InProcessGenerator]


@pytest.fixture
def make(tiny: Path) -> Make:
    policy = load_frozen(tiny / "policy")

    def made(
        ends: frozenset[int] = ENDS,
        temperature: float = 1.0,
        max_new_tokens: int = 12,
        batch_size: int = 64,
    ) -> InProcessGenerator:
        return InProcessGenerator(
            policy,
            pad=0,
            ends=ends,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
        )

    return made


def test_an_answer_ends_at_its_first_end_token_or_is_cut(make: Make) -> None:
    answers = make().generate(PROMPTS * 20, seed=0)
    ended = [a for a in answers if a[-1] in ENDS]
    cut = [a for a in answers if a[-1] not in ENDS]
    assert ended
    assert cut
    assert all(not ENDS & set(a[:-1]) for a in answers)
    assert all(len(a) == 12 for a in cut)


def test_nearly_greedy_answers_are_those_of_transformers(make: Make, tiny: Path) -> None:
    """Rows that end early leave the batch; the others must not notice."""
    policy = load_frozen(tiny / "policy")
    found = make(temperature=1e-4, max_new_tokens=20).generate(PROMPTS, seed=0)
    for prompt, answer in zip(PROMPTS, found, strict=True):
        out = policy.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=20, eos_token_id=sorted(ENDS)
        )
        assert answer == out[0, len(prompt) :].tolist()


def test_the_seed_decides_and_repeated_prompts_get_answers_of_their_own(make: Make) -> None:
    generator = make()
    first = generator.generate([PROMPTS[0]] * 6, seed=1)
    assert generator.generate([PROMPTS[0]] * 6, seed=1) == first
    assert generator.generate([PROMPTS[0]] * 6, seed=2) != first
    assert len({tuple(a) for a in first}) > 3


def test_answers_come_in_the_order_of_the_prompts_whatever_the_batch(make: Make) -> None:
    whole = make(temperature=1e-4).generate(PROMPTS, seed=0)
    assert make(temperature=1e-4, batch_size=1).generate(PROMPTS, seed=0) == whole
    assert len({tuple(a) for a in whole}) == 3


def test_equal_prompts_are_read_once(make: Make, tiny: Path) -> None:
    """Among others of other lengths, and each answer still is that to its own prompt."""
    seen: list[int] = []
    policy = load_frozen(tiny / "policy")
    policy.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    drawing = InProcessGenerator(
        policy, pad=0, ends=ENDS, temperature=1e-4, max_new_tokens=8, batch_size=64
    )
    repeated = [PROMPTS[place] for place in (1, 0, 1, 2, 0, 1)]
    answers = drawing.generate(repeated, seed=0)
    assert seen[0] == len(PROMPTS) * max(map(len, PROMPTS))
    alone = {tuple(prompt): make(temperature=1e-4, max_new_tokens=8).generate([prompt], seed=0)[0]
             for prompt in PROMPTS}  # fmt: skip
    assert answers == [alone[tuple(prompt)] for prompt in repeated]


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_the_nucleus_is_that_of_a_full_sort(spread: float) -> None:
    """The flatter a distribution, the longer the prefix that holds its nucleus."""
    torch.manual_seed(0)
    logits = torch.randn(5, 3 * NUCLEUS_PREFIXES[-1]) * spread
    probabilities = logits.softmax(-1)
    kept, tokens = nucleus(probabilities, 0.9)
    for row in range(5):
        order = probabilities[row].sort(descending=True)
        count = int((order.values.cumsum(-1) - order.values < 0.9).sum())
        chosen = tokens[row][kept[row] > 0]
        assert torch.equal(probabilities[row][chosen], order.values[:count])  # ties either way
        assert len(set(chosen.tolist())) == count
        assert kept[row].sum() >= 0.9


def test_it_draws_from_the_distribution_at_the_temperature(make: Make, tiny: Path) -> None:
    policy = load_frozen(tiny / "policy")
    count = 4000
    drawn = make(temperature=0.7, max_new_tokens=1).generate([PROMPTS[1]] * count, seed=3)
    prompt = Sequences.build([PROMPTS[1]], [[]], 0)
    with torch.no_grad():
        expected = (policy(prompt.ids).logits[0, -1] / 0.7).softmax(-1)
    found = torch.bincount(torch.tensor([a[0] for a in drawn]), minlength=len(expected)) / count
    likely = expected > 0.02
    assert likely.sum() >= 3
    spread = (expected * (1 - expected) / count).sqrt()
    assert ((found - expected).abs() < 5 * spread)[likely].all()


def test_the_nucleus_alone_is_drawn_from(tiny: Path) -> None:
    policy = load_frozen(tiny / "policy")
    drawing = InProcessGenerator(
        policy, pad=0, ends=ENDS, temperature=0.7, top_p=0.3, max_new_tokens=1, batch_size=400
    )
    drawn = {a[0] for a in drawing.generate([PROMPTS[1]] * 400, seed=3)}
    with torch.no_grad():
        logits = policy(torch.tensor([PROMPTS[1]])).logits[0, -1] / 0.7
    order = logits.softmax(-1).sort(descending=True)
    nucleus = order.indices[order.values.cumsum(-1) - order.values < 0.3].tolist()
    assert drawn <= set(nucleus)
    assert len(drawn) > len(nucleus) / 2
