"""What the network reads and what it gives: the tokens of a conversation, and numbers for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

Ids = tuple[int, ...]
Output = tuple[float, ...]
"""Each label's raw number for one sequence; for a process reward model, each step's score."""


@dataclass(frozen=True)
class Rendered:
    """One sequence for the model."""

    ids: Ids
    prompt_tokens: int
    """Leading tokens that do not depend on the answer."""
    fixed_tokens: int = 0
    """Leading special tokens (BOS, CLS) that a cut of the prompt must keep."""
    token_types: Ids | None = None
    """Segment ids of an encoder pair; None where the model has none."""
    truncated: bool = False
    reads: Ids = ()
    """Indices in `ids`, all in the answer, at which a process reward model is read. If empty, only
    the last token is read."""

    @property
    def read_at(self) -> Ids:
        """The places at which the output is read, at least one."""
        return self.reads or (len(self.ids) - 1,)

    def within(self, limit: int) -> Rendered | None:
        """The sequence in at most `limit` tokens; None if its answer alone is longer.

        Cuts the prompt's left side, except the leading special tokens, and never the answer. Each
        candidate loses only as much prompt as its own answer needs, so its reward does not depend
        on its neighbours. Serving and training must cut alike, so both cut here.
        """
        excess, start = len(self.ids) - limit, self.fixed_tokens
        if excess <= 0:
            return self
        if excess > self.prompt_tokens - start:
            return None
        types = self.token_types
        return replace(
            self,
            ids=self.ids[:start] + self.ids[start + excess :],
            prompt_tokens=self.prompt_tokens - excess,
            token_types=None if types is None else types[:start] + types[start + excess :],
            truncated=True,
            reads=tuple(place - excess for place in self.reads),
        )


def shared_tokens(left: Ids, right: Ids) -> int:
    """Number of leading tokens that both have."""
    most = min(len(left), len(right))
    if left[:most] == right[:most]:  # the usual case, without a loop
        return most
    return next(i for i in range(most) if left[i] != right[i])
