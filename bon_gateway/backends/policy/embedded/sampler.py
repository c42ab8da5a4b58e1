"""From logits to the next token of every row.

The steps, their meaning and their order are vLLM's: minimum length, logit bias, penalties,
temperature, min_p, top_k, top_p. Each row has a random generator of its own, so that a candidate
does not depend on the others that are drawn with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bon_gateway.backends.policy.embedded.params import SamplingParams

BLOCK = 64
"""Random numbers that a row draws at a time."""
TOP_P_PREFIXES = (128, 2048)
"""Numbers of likeliest tokens in which the border of top_p is searched before all are sorted."""
GROUP = 256
"""Tokens of a group when a token is drawn."""
SEED_MASK = 2**64 - 1


class TokenSampler:
    """The sampling state of one request's rows."""

    def __init__(
        self,
        params: SamplingParams,
        prompt: Sequence[int],
        seeds: Sequence[int],
        *,
        banned: Sequence[int],
        vocabulary: int,
        device: torch.device,
    ) -> None:
        """``banned`` are the token ids that must not come before ``min_tokens``."""
        self._params = params
        self._steps = 0
        self._generators = [torch.Generator().manual_seed(seed & SEED_MASK) for seed in seeds]
        self._uniforms = torch.empty(len(seeds), 0)
        self._banned = torch.tensor(sorted(banned), dtype=torch.long, device=device)
        self._bias = _bias(params, vocabulary, device)
        self._counts: Tensor | None = None
        if params.repetition_penalty != 1 or params.presence_penalty or params.frequency_penalty:
            self._counts = torch.zeros(len(seeds), vocabulary, device=device)
        self._in_prompt = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        self._in_prompt[torch.tensor(prompt, dtype=torch.long, device=device)] = True

    def sample(self, logits: Tensor) -> Tensor:
        """Draw a token for each row: logits [M, V] float32, which stay unchanged, to token ids [M].
        Raises FloatingPointError if the logits hold NaN."""
        params = self._params
        if bool(logits.amax().isnan()):
            raise FloatingPointError("the logits hold NaN")
        if self._steps < params.min_tokens:
            logits = logits.index_fill(1, self._banned, -torch.inf)
        if self._bias is not None:
            logits = logits + self._bias
        if self._counts is not None:
            logits = penalise(logits, self._counts, self._in_prompt, params)
        tokens = self._pick(logits)
        if self._counts is not None:
            ones = torch.ones_like(tokens[:, None], dtype=self._counts.dtype)
            self._counts.scatter_add_(1, tokens[:, None], ones)
        self._steps += 1
        return tokens

    def select(self, keep: Sequence[int]) -> None:
        """Drop all rows but those at the positions ``keep``."""
        self._generators = [self._generators[position] for position in keep]
        self._uniforms = self._uniforms[list(keep)]
        if self._counts is not None:
            self._counts = self._counts[list(keep)]

    def _pick(self, logits: Tensor) -> Tensor:
        params = self._params
        if params.temperature == 0:
            return logits.argmax(dim=-1)
        kept = filter_logits(logits / params.temperature, params.min_p, params.top_k, params.top_p)
        return draw_tokens(kept.softmax(dim=-1), self._next_uniforms().to(logits.device))

    def _next_uniforms(self) -> Tensor:
        """One number in [0, 1) for each row, [M]."""
        column = self._steps % BLOCK
        if column == 0:
            self._uniforms = torch.stack(
                [torch.rand(BLOCK, generator=one, dtype=torch.float64) for one in self._generators]
            )
        return self._uniforms[:, column]


def penalise(logits: Tensor, counts: Tensor, in_prompt: Tensor, params: SamplingParams) -> Tensor:
    """Apply the three penalties to ``logits`` [M, V].

    ``counts`` [M, V] is how often each token was generated, ``in_prompt`` [V] whether the prompt
    has it: repetition looks at both, frequency and presence at what was generated.
    """
    generated = counts > 0
    if params.repetition_penalty != 1:
        scaled = torch.where(
            logits > 0, logits / params.repetition_penalty, logits * params.repetition_penalty
        )
        logits = torch.where(generated | in_prompt, scaled, logits)
    return logits - params.frequency_penalty * counts - params.presence_penalty * generated


def filter_logits(logits: Tensor, min_p: float, top_k: int, top_p: float) -> Tensor:
    """Set to -inf the logits [M, V] that ``min_p``, ``top_k`` (0: off) and ``top_p`` exclude.

    Tokens as likely as the last one that is kept are kept too, so that the result does not depend
    on how a sort orders ties.
    """
    if min_p > 0:
        probabilities = logits.softmax(dim=-1)
        least = min_p * probabilities.amax(dim=-1, keepdim=True)
        logits = logits.masked_fill(probabilities < least, -torch.inf)
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        logits = logits.masked_fill(logits < _nucleus_border(logits, top_p), -torch.inf)
    return logits


def _nucleus_border(logits: Tensor, top_p: float) -> Tensor:
    """The least logit of the smallest set with a probability of ``top_p`` or more, [M, 1]."""
    total = logits.logsumexp(dim=-1, keepdim=True)
    vocabulary = logits.shape[-1]
    for size in (*(size for size in TOP_P_PREFIXES if size < vocabulary), vocabulary):
        largest = logits.topk(size, dim=-1).values
        before = _mass_before(largest, total)
        if size == vocabulary or not bool((before[:, -1] < top_p).any()):
            break
    kept = (before < top_p).sum(dim=-1, keepdim=True)
    return largest.gather(1, kept - 1)


def _mass_before(descending: Tensor, total: Tensor) -> Tensor:
    """The probability of all entries before each one, [M, K]. It is 0 for the first."""
    probabilities = (descending - total).exp()
    return probabilities.cumsum(dim=-1) - probabilities


def draw_tokens(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Invert the cumulative distribution: probabilities [M, V], uniforms [M] in [0, 1), to [M].

    A token of probability 0 is never drawn.
    """
    # The sum over a large vocabulary needs float64, which MPS does not have.
    exact = torch.float32 if probabilities.device.type == "mps" else torch.float64
    # First a group of tokens, then one of the group: running sums over all tokens take long.
    missing = -probabilities.shape[-1] % GROUP
    padded = nn.functional.pad(probabilities, (0, missing))
    groups = padded.view(len(padded), -1, GROUP)
    masses = groups.sum(dim=-1, dtype=exact)
    ends = masses.cumsum(dim=-1)
    wanted = uniforms[:, None].to(exact) * ends[:, -1:]
    group = _first_above(ends, wanted)
    wanted = wanted - (ends.gather(1, group) - masses.gather(1, group))
    members = groups.take_along_dim(group[..., None], dim=1)[:, 0]
    return (group * GROUP + _first_above(members.cumsum(dim=-1, dtype=exact), wanted))[:, 0]


def _first_above(sums: Tensor, wanted: Tensor) -> Tensor:
    """The first position of rising ``sums`` [M, K] above ``wanted`` [M, 1], as [M, 1].

    Rounding may raise ``wanted`` to the last sum or lower it below 0. The position is one where the
    sums rise even then.
    """
    found = torch.searchsorted(sums, wanted.clamp(min=0), right=True)
    return torch.minimum(found, torch.searchsorted(sums, sums[:, -1:].contiguous()))


def _bias(params: SamplingParams, vocabulary: int, device: torch.device) -> Tensor | None:
    if params.logit_bias is None:
        return None
    bias = torch.zeros(vocabulary, device=device)
    for token, value in params.logit_bias.items():
        bias[token] = value
    return bias
