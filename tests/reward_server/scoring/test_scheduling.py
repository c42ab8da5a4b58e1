"""What a batch holds: exact cases, and what must hold for any queue."""

from __future__ import annotations

import asyncio
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from reward_server.network.sequence import Rendered
from reward_server.scoring.scheduling import (
    Batch,
    QueuedPrompt,
    ScoreJob,
    Sizes,
    Slice,
    next_batch,
    queued_prompts,
)
from reward_server.testing import FakeForward


class Undone(asyncio.Future[None]):
    """A future that needs no loop of its own."""

    def __init__(self) -> None:
        super().__init__(loop=LOOP)


LOOP = asyncio.new_event_loop()
LOOP.close()


def group(prompt: int, *answers: int, mark: int = 0) -> list[Rendered]:
    """Candidates of one prompt, by their lengths."""
    begin = (mark,) * prompt
    return [Rendered(begin + (7,) * answer, prompt) for answer in answers]


def job(forward: FakeForward, *groups: list[Rendered]) -> ScoreJob:
    sequences = [sequence for members in groups for sequence in members]
    return ScoreJob(
        sequences, queued_prompts(sequences, forward.prompts), [()] * len(sequences), Undone()
    )


def take(
    jobs: list[ScoreJob],
    forward: FakeForward,
    *,
    budget: int = 100,
    most: int = 100,
    oldest: bool = False,
) -> Batch:
    """The next batch, after which `forward` knows the prompts that it held."""
    batch = next_batch(
        jobs, forward.prompts, budget=budget, cut=Slice(most, most), oldest_leads=oldest
    )
    if forward.prompts is not None:
        forward.prompts.kept.update(prefix for _, prefix in batch.prefixes)
        for owner, place in batch.entries:
            sequence = owner.sequences[place]
            forward.prompts.kept.add(sequence.ids[: sequence.prompt_tokens])
    return batch


def content(batch: Batch) -> tuple[list[int], list[int]]:
    """Places of sequences and lengths of prefixes."""
    return [place for _, place in batch.entries], [len(prefix) for _, prefix in batch.prefixes]


def test_a_prompt_counts_once_for_its_candidates() -> None:
    assert job(FakeForward(shares_prompts=True), group(20, 3, 4)).tokens == 27
    assert job(FakeForward(), group(20, 3, 4)).tokens == 47


def test_what_is_known_of_a_prompt_does_not_count() -> None:
    forward = FakeForward(shares_prompts=True)
    assert forward.prompts is not None
    forward.prompts.kept.add((0,) * 15)
    assert job(forward, group(20, 3)).tokens == 8


def test_small_requests_go_first_and_whole() -> None:
    forward = FakeForward(shares_prompts=True)
    large, small = job(forward, group(40, 30, 30)), job(forward, group(5, 6, 5, mark=1))
    batch = take([large, small], forward, most=20)
    assert batch.jobs == [small]
    assert (batch.tokens, batch.cut) == (16, False)


def test_the_oldest_leads_when_it_is_its_turn() -> None:
    forward = FakeForward(shares_prompts=True)
    large, small = job(forward, group(40, 30, 30)), job(forward, group(5, 5, 5, mark=1))
    batch = take([large, small], forward, budget=30, most=20, oldest=True)
    assert content(batch) == ([], [20])
    assert batch.jobs == [large]


def test_a_large_request_is_cut_within_its_prompt_and_between_its_answers() -> None:
    forward = FakeForward(shares_prompts=True)
    large = job(forward, group(50, 8, 8, 8, 30, 1))
    held = []
    while large.parts:
        held.append(content(take([large], forward, most=20)))
    assert held == [([], [20]), ([], [40]), ([0], []), ([1, 2], []), ([3], []), ([4], [])]


def test_a_batch_with_small_requests_is_filled_up_with_a_piece_of_a_large_one() -> None:
    forward = FakeForward(shares_prompts=True)
    large, small = job(forward, group(50, 8)), job(forward, group(5, 5, mark=1))
    batch = take([large, small], forward, most=20)
    assert batch.jobs == [small, large]
    assert content(batch) == ([0], [10])
    assert (batch.tokens, batch.cut) == (20, True)


def test_a_sliver_of_a_prompt_waits() -> None:
    forward = FakeForward(shares_prompts=True)
    large, small = job(forward, group(50, 8)), job(forward, group(8, 9, mark=1))
    assert take([large, small], forward, most=20).jobs == [small]


def test_where_prompts_are_not_shared_whole_sequences_are_the_pieces() -> None:
    forward = FakeForward()
    large = job(forward, group(10, 5, 5, 5))
    assert content(take([large], forward, most=31)) == ([0, 1], [])
    assert large.tokens == 15


def test_a_prompt_alone_is_done_when_it_is_known() -> None:
    forward = FakeForward(shares_prompts=True)
    prompt = (3,) * 30
    ahead = ScoreJob((), deque([QueuedPrompt(prompt, deque(), 0)]), [], Undone())
    assert (ahead.waiting, ahead.tokens) == (1, 30)
    assert content(take([ahead], forward, most=20)) == ([], [20])
    assert content(take([ahead], forward, most=20)) == ([], [30])
    assert not ahead.parts
    again = ScoreJob((), deque([QueuedPrompt(prompt, deque(), 0)]), [], Undone())
    batch = take([again], forward, most=20)
    assert (batch.tokens, batch.jobs, again.parts) == (0, [again], deque())


def test_a_slice_is_as_large_as_a_typical_request() -> None:
    sizes = Sizes()
    assert sizes.slice(least=256, most=1000) == Slice(256, 256)
    for tokens in (400, 400, 90_000):
        sizes.add(tokens)
    assert sizes.slice(least=256, most=1000) == Slice(400, 400)
    for _ in range(10):
        sizes.add(90_000)
    assert sizes.slice(least=256, most=1000) == Slice(1000, 1000)


def test_pieces_of_tokens_that_take_longer_are_smaller() -> None:
    sizes = Sizes()
    sizes.add(400)

    def piece(seconds: float, *, cut: bool) -> int:
        for _ in range(50):
            sizes.took(seconds, 400, cut=cut)
        found = sizes.slice(least=100, most=1000)
        assert found.whole == 400
        return found.piece

    assert piece(4.0, cut=False) == 400
    assert piece(8.0, cut=True) == 200
    assert piece(1000.0, cut=True) == 50, "an eighth at least"
    assert piece(1.0, cut=True) == 400, "no more than a typical request"
    sizes.took(1.0, 0, cut=False)


@st.composite
def queues(draw: st.DrawFn) -> tuple[FakeForward, list[ScoreJob]]:
    forward = FakeForward(shares_prompts=draw(st.booleans()))
    jobs = []
    for _ in range(draw(st.integers(1, 5))):
        groups = [
            group(
                draw(st.integers(0, 60)),
                *draw(st.lists(st.integers(1, 30), min_size=1, max_size=6)),
                mark=draw(st.integers(1, 3)),
            )
            for _ in range(draw(st.integers(1, 3)))
        ]
        jobs.append(job(forward, *groups))
    return forward, jobs


@given(queues(), st.integers(10, 80), st.integers(0, 80), st.data())
def test_everything_is_computed_once_in_batches_of_bounded_size(
    queue: tuple[FakeForward, list[ScoreJob]], most: int, more: int, data: st.DataObject
) -> None:
    forward, jobs = queue
    budget = most + more
    seen: dict[ScoreJob, list[int]] = {one: [] for one in jobs}
    waiting = list(jobs)
    for _ in range(1000):
        if not waiting:
            break
        batch = take(waiting, forward, budget=budget, most=most, oldest=data.draw(st.booleans()))
        assert batch.jobs, "nothing was taken"
        units = len(batch.entries) + len(batch.prefixes)
        assert batch.tokens <= budget or units == 1
        for owner, place in batch.entries:
            seen[owner].append(place)
        waiting = [one for one in waiting if one.parts]
    assert not waiting
    for owner, places in seen.items():
        assert sorted(places) == list(range(len(owner.sequences)))
