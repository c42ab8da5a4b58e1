from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from reward_server.network.packing import MOST_PADDED, grouped, lay_out, packs
from reward_server.network.sequence import Rendered

CPU = torch.device("cpu")


def never(tokens: int) -> bool:
    return False


PROMPTS = ((), (1, 2, 3), (1, 2), (9,) * 12)


@st.composite
def batches(draw: st.DrawFn) -> list[Rendered]:
    batch = []
    for _ in range(draw(st.integers(1, 20))):
        prompt = draw(st.sampled_from(PROMPTS))
        answer = tuple(draw(st.lists(st.integers(20, 99), min_size=1, max_size=30)))
        batch.append(Rendered(prompt + answer, len(prompt)))
    return batch


@given(batches(), st.integers(1, 80))
def test_every_sequence_is_laid_out_whole_and_once(batch: list[Rendered], budget: int) -> None:
    seen = []
    for pack in packs(grouped(batch, never), budget):
        assert sum(group.tokens for group in pack) <= budget or (
            len(pack) == 1 and len(pack[0].answers) == 1
        )
        layout = lay_out(pack, CPU)
        ids, positions = layout.ids[0].tolist(), layout.positions[0].tolist()
        answers = iter(zip(layout.places, layout.last.tolist(), strict=True))
        for group in pack:
            for answer in group.answers:
                place, last = next(answers)
                begin = last + 1 - len(answer)
                assert group.prompt + tuple(ids[begin : last + 1]) == batch[place].ids
                assert positions[begin : last + 1] == list(
                    range(len(group.prompt), len(batch[place].ids))
                )
                seen.append(place)
        for span in layout.spans:
            assert positions[span.start : span.stop] == list(range(span.stop - span.start))
        assert layout.longest == max(positions) + 1
    assert sorted(seen) == list(range(len(batch)))


@given(batches())
def test_each_answers_token_is_in_one_bucket(batch: list[Rendered]) -> None:
    (pack,) = packs(grouped(batch, never), 10**6)
    layout = lay_out(pack, CPU)
    prompts = {i for span in layout.spans for i in range(span.start, span.stop)}
    tokens = [i for bucket in layout.buckets for i in bucket.tokens.tolist()]
    assert sorted([*tokens, *prompts]) == list(range(layout.ids.shape[1]))
    for bucket in layout.buckets:
        assert torch.equal(bucket.gather[bucket.real], bucket.tokens)
        assert len(bucket.gather) <= MOST_PADDED * len(bucket.tokens)


def test_a_prompt_stands_once_before_its_answers() -> None:
    prompt = (1, 2, 3)
    batch = [Rendered((*prompt, 7), 3), Rendered((8, 8), 1), Rendered((*prompt, 9, 9), 3)]
    (pack,) = packs(grouped(batch, never), 100)
    layout = lay_out(pack, CPU)
    assert layout.ids.tolist() == [[1, 2, 3, 7, 9, 9, 8, 8]]
    assert layout.positions.tolist() == [[0, 1, 2, 3, 3, 4, 0, 1]]
    assert layout.last.tolist() == [3, 5, 7]
    assert layout.places == (0, 2, 1)


def test_a_group_over_the_budget_is_cut_between_answers() -> None:
    batch = [Rendered((1, 2, 3, 7, number), 3) for number in range(10, 15)]
    sizes = [[len(group.answers) for group in pack] for pack in packs(grouped(batch, never), 7)]
    assert sizes == [[2], [2], [1]]
