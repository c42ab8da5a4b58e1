"""Lays conversations out end to end, without padding, a shared prompt only once.

The N candidates of one prompt become the prompt and then one answer after another. The positions of
each answer continue from the prompt's end. If the beginning of a prompt was computed before, only
the rest is laid out. `reward_server.network.attention` decides which tokens see each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor

from reward_server.network.final_layer import FinalLayer
from reward_server.network.prefix_cache import Prefix
from reward_server.network.sequence import Ids, Rendered

MOST_PADDED = 2.0
"""Answers of different lengths attend in one padded call while that has at most this many positions
for each token."""

ROWS = 8
"""A call of `LEAST_ROUNDED` tokens or more is filled up to a multiple of this, with tokens
that no other token sees: a product of 1273 rows can take a third longer than one of 1280 (oneDNN
on AVX2)."""
LEAST_ROUNDED = 256

Find = Callable[[Ids], tuple[Prefix, int] | None]


@dataclass(frozen=True)
class PromptGroup:
    """Answers that follow the same prompt, and how much of the prompt is known.

    Without a prompt to share or to keep, an answer is the whole conversation.
    """

    prompt: Ids
    answers: tuple[Ids, ...] = ()
    places: tuple[int, ...] = ()
    """Each answer's place in the batch."""
    reads: tuple[Ids, ...] = ()
    """For each answer the tokens at which it is read, counted from its first token."""
    known: int = 0
    """Leading tokens of the prompt that `past` holds."""
    past: Prefix | None = None
    keep: bool = False
    """Whether to keep the prompt's keys and values."""

    @property
    def tokens(self) -> int:
        """Tokens to compute."""
        return len(self.prompt) - self.known + sum(map(len, self.answers))

    def found(self, find: Find) -> PromptGroup:
        """The same group, with the longest beginning of its prompt that `find` has."""
        if self.known == len(self.prompt):
            return self
        match = find(self.prompt)
        return self if match is None else replace(self, past=match[0], known=match[1])


@dataclass(frozen=True)
class Span:
    """The tokens of a prompt that are laid out, and those of its answers right behind them."""

    start: int
    stop: int
    answers_stop: int
    sequences: slice
    """The places of its answers in `Layout.last`."""
    known: int = 0
    """Tokens before `start` that `past` holds."""
    past: Prefix | None = None
    kept: list[tuple[Tensor, Tensor]] | None = None
    """Where the attention puts each layer's keys and values of the prompt's tokens, in order."""

    def known_of(self, layer: int) -> tuple[Tensor, Tensor]:
        """A layer's keys and values of the tokens before `start`."""
        assert self.past is not None
        key, value = self.past.layers[layer]
        return key[:, :, : self.known], value[:, :, : self.known]


@dataclass(frozen=True)
class Bucket:
    """Answers of similar length, for attention within each of them."""

    rows: int
    gather: Tensor
    """(rows x longest,) the token at each padded position; padding repeats the answer's last."""
    real: Tensor
    """(tokens,) which padded positions hold a token."""
    tokens: Tensor
    """(tokens,) which tokens these are."""
    sequences: Tensor
    """(rows,) each answer's place in `Layout.last`."""
    padding: Tensor
    """(rows, longest) bool, where a position holds no token."""


@dataclass(frozen=True)
class Layout:
    """One call of the network: tokens of several groups, filled up to T."""

    ids: Tensor
    """(1, T)"""
    tokens: int
    """Number of tokens that belong to a conversation; the rest of T is filling."""
    positions: Tensor
    """(1, T) each token's place in its own conversation."""
    last: Tensor
    """(sequences,) the last token of each."""
    reads: Tensor
    """(reads,) the tokens at which outputs are read, sequence by sequence: `last`, unless the model
    scores steps."""
    counts: tuple[int, ...]
    """(sequences,) the number of `reads` in each."""
    places: tuple[int, ...]
    """(sequences,) each one's place in the batch."""
    spans: tuple[Span, ...]
    """Of the groups that have a prompt, in their order."""
    buckets: tuple[Bucket, ...]
    longest: int
    """Tokens of the longest conversation."""
    flex: bool = False
    """Whether the attention is one call of FlexAttention; else it has a call for each part."""
    final: FinalLayer | None = None
    """The layer that computes the tokens of `last` alone; None if every layer computes them all."""
    masks: list[Any] = field(default_factory=list)
    """FlexAttention keeps its mask here for the layers that follow."""


def grouped(batch: Sequence[Rendered], keeps: Callable[[int], bool]) -> list[PromptGroup]:
    """PromptGroup sequences by their prompt; every sequence is in exactly one group.

    A lone sequence has a prompt of its own only if `keeps` says that the prompt is kept.
    """
    members: dict[Ids, list[int]] = {}
    for place, sequence in enumerate(batch):
        members.setdefault(sequence.ids[: sequence.prompt_tokens], []).append(place)
    groups = []
    for prompt, places in members.items():
        keep = keeps(len(prompt))
        # A prompt apart from its answers costs attention a further call and a join. One answer
        # whose prompt is not kept gains nothing by that, so it is laid out whole.
        shared = prompt if keep or len(places) > 1 else ()
        answers = tuple(batch[place].ids[len(shared) :] for place in places)
        reads = tuple(
            tuple(read - len(shared) for read in batch[place].read_at) for place in places
        )
        groups.append(PromptGroup(shared, answers, tuple(places), reads, keep=keep))
    return groups


def packs(groups: Sequence[PromptGroup], budget: int) -> Iterator[list[PromptGroup]]:
    """Fill calls of at most `budget` tokens, in order.

    A group that is larger is cut between answers, and its prompt is in each part; one sequence
    over the budget is alone.
    """
    pack: list[PromptGroup] = []
    tokens = 0
    for group in groups:
        for part in _within(group, budget):
            if pack and tokens + part.tokens > budget:
                yield pack
                pack, tokens = [], 0
            pack.append(part)
            tokens += part.tokens
    if pack:
        yield pack


def _within(group: PromptGroup, budget: int) -> Iterator[PromptGroup]:
    if group.tokens <= budget:
        yield group
        return
    # Every part computes the rest of the prompt again, unless the first one's is kept by then.
    own = len(group.prompt) - group.known
    begin, tokens = 0, own
    for index, answer in enumerate(group.answers):
        if index > begin and tokens + len(answer) > budget:
            yield _part(group, slice(begin, index))
            begin, tokens = index, own
        tokens += len(answer)
    yield _part(group, slice(begin, None))


def _part(group: PromptGroup, some: slice) -> PromptGroup:
    return replace(
        group, answers=group.answers[some], places=group.places[some], reads=group.reads[some]
    )


def lay_out(
    pack: Sequence[PromptGroup],
    device: torch.device,
    *,
    flex: bool = False,
    final: FinalLayer | None = None,
) -> Layout:
    """The tensors of one call."""
    ids: list[int] = []
    positions: list[int] = []
    answers: list[range] = []
    reads: list[Ids] = []
    spans: list[Span] = []
    for group in pack:
        start, prompt = len(ids), len(group.prompt)
        # Keys and values of the first `known` tokens are there already, so these have no row.
        ids.extend(group.prompt[group.known :])
        positions.extend(range(group.known, prompt))
        stop, first = len(ids), len(answers)
        for answer, read in zip(group.answers, group.reads, strict=True):
            reads.append(tuple(len(ids) + place for place in read))
            answers.append(range(len(ids), len(ids) + len(answer)))
            ids.extend(answer)
            # Every answer goes on where the prompt ends, wherever it lies. Its tokens then have
            # the positions that they have in a conversation alone, and so has its reward.
            positions.extend(range(prompt, prompt + len(answer)))
        if prompt and len(ids) > start:
            # Only a prompt that is not wholly known has something to keep.
            kept: list[tuple[Tensor, Tensor]] | None = None
            if group.keep and stop > start:
                kept = []
            sequences = slice(first, len(answers))
            spans.append(Span(start, stop, len(ids), sequences, group.known, group.past, kept))
    longest = max(positions) + 1  # before the filling, whose positions are all 0
    tokens = len(ids)
    if tokens >= LEAST_ROUNDED:
        filling = [0] * (-tokens % ROWS)
        ids.extend(filling)
        positions.extend(filling)
    return Layout(
        tokens=tokens,
        ids=torch.tensor([ids], dtype=torch.long, device=device),
        positions=torch.tensor([positions], dtype=torch.long, device=device),
        last=torch.tensor([a[-1] for a in answers], dtype=torch.long, device=device),
        reads=torch.tensor(list(chain(*reads)), dtype=torch.long, device=device),
        counts=tuple(map(len, reads)),
        places=tuple(place for group in pack for place in group.places),
        spans=tuple(spans),
        buckets=() if flex else tuple(_bucket(rows, answers, device) for rows in _alike(answers)),
        longest=longest,
        flex=flex,
        final=final,
    )


def _alike(answers: Sequence[range]) -> Iterator[list[int]]:
    """Cut the answers, longest first, where padding them to one length would cost too much.

    Yields their indices.
    """
    if not answers:
        return
    # Longest first: the first of a cut is then what all others in it are padded to.
    by_length = sorted(range(len(answers)), key=lambda index: -len(answers[index]))
    lengths = [len(answers[index]) for index in by_length]
    sums = list(accumulate(lengths))
    begin, before = 0, 0
    for index, length in enumerate(lengths):
        padded = lengths[begin] * (index + 1 - begin)
        if index > begin and padded > MOST_PADDED * (sums[index] - before):
            yield by_length[begin:index]
            begin, before = index, sums[index] - length
    yield by_length[begin:]


def _bucket(sequences: Sequence[int], answers: Sequence[range], device: torch.device) -> Bucket:
    rows = [answers[index] for index in sequences]
    longest = len(rows[0])
    # Padding gathers the answer's last token again: any row would do, since no token looks behind
    # itself, but it must be one of the layout and hold finite numbers.
    return Bucket(
        rows=len(rows),
        gather=torch.tensor([i for row in rows for i in (*row, *[row[-1]] * (longest - len(row)))],
                            device=device),
        real=torch.tensor([number * longest + step for number, row in enumerate(rows)
                           for step in range(len(row))], device=device),
        tokens=torch.tensor([i for row in rows for i in row], device=device),
        sequences=torch.tensor(sequences, device=device),
        padding=torch.tensor([[step >= len(row) for step in range(longest)] for row in rows],
                             device=device),
    )  # fmt: skip
