"""The rewards of answers, by one model or by an ensemble.

Every trainer loads its reward model by this module, so an ensemble can take the place of a reward
model anywhere; `opening` puts a server there too. Answers come as text and are rendered in the
reward model's own chat template, so a score here equals the served score; the policy's own tokens
do not matter.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bon_common.ensemble import Combine, combine
from reward_server.network.sequence import Rendered
from trainers.base.errors import DataError, ModelError, RunError
from trainers.rewards.answers import AnswerScorer, Placed
from trainers.rewards.ensemble import read_ensemble
from trainers.rewards.meta import read_meta
from trainers.rewards.one import OneModel, render


@dataclass(eq=False)
class RewardScorer(AnswerScorer):
    """Scores conversations; counts those whose prompt it had to cut."""

    members: Sequence[tuple[OneModel, float, float]]
    """Models with the mean to subtract and the deviation to divide by."""
    how: Combine
    batch_size: int
    cut_prompts: bool = False
    hint: str = ""
    """Advice to the user about a conversation that is too long."""
    cut: int = field(default=0, init=False)
    """Conversations whose prompt was cut so far."""

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        batch_size: int,
        device: str = "auto",
        dtype: torch.dtype = torch.float32,
        label_weights: Mapping[str, float] | None = None,
        how: Combine = "mean",
        cut_prompts: bool = False,
        hint: str = "",
    ) -> "RewardScorer":
        """Load a reward model, or all members of an ensemble; ModelError if that fails.

        Without `label_weights`, a model with several outputs is read by those of its
        `rm_meta.json`.
        """

        def member(place: Path) -> OneModel:
            weights = label_weights or _own_weights(place)
            return OneModel.load(place, device=device, dtype=dtype, label_weights=weights)

        names = read_ensemble(folder)
        if names is None:
            members = [(member(folder), 0.0, 1.0)]
        else:
            places = [folder / name for name in names]
            members = [(member(place), *_spread(place)) for place in places]
        return cls(members, how, batch_size, cut_prompts, hint)

    def can_read(self, placed: Sequence[Placed]) -> bool:
        """Whether chat template and length limit allow these conversations; no model is run."""
        try:
            for model, _, _ in self.members:
                for index, one in enumerate(placed):
                    self._render(model, one, index, set())
        except DataError:
            return False
        return True

    def rewards(self, placed: Sequence[Placed]) -> list[float]:
        """One number a conversation, in the order given; an ensemble's are standardised.

        Raises DataError, naming the place, for a conversation that the chat template refuses or
        that is too long; RunError for a reward that is not finite.
        """
        found = []
        cut: set[int] = set()
        for model, mean, std in self.members:
            rendered = [self._render(model, one, i, cut) for i, one in enumerate(placed)]
            found.append((model.rewards(rendered, self.batch_size) - mean) / std)
        self.cut += len(cut)
        rows: list[list[float]] = torch.stack(found, 1).tolist()
        for (where, _), row in zip(placed, rows, strict=True):
            for reward in row:
                if not math.isfinite(reward):
                    raise RunError(f"{where}: the reward model answered {reward}")
        return [combine(row, self.how) for row in rows]

    def require(self, placed: Placed) -> None:
        """Raise DataError as `rewards` would for this conversation."""
        for model, _, _ in self.members:
            self._render(model, placed, 0, set())

    def _render(self, model: OneModel, placed: Placed, index: int, cut: set[int]) -> Rendered:
        where, judged = placed
        rendered = render(model.renderer, judged, where)
        limit = model.model.context_limit
        if limit is None or len(rendered.ids) <= limit:
            return rendered
        if not self.cut_prompts:
            reason = f"{len(rendered.ids)} tokens, the reward model reads {limit}"
            raise DataError(f"{where}: {'; '.join(filter(None, (reason, self.hint)))}")
        cut.add(index)
        shorter = rendered.within(limit)
        if shorter is None:
            raise DataError(f"{where}: the answer alone is longer than the model's {limit} tokens")
        return shorter


def _spread(folder: Path) -> tuple[float, float]:
    """Mean and deviation that standardise a member."""
    meta = read_meta(folder)
    if meta is None or meta.normalisation.std <= 0:
        raise ModelError(f"{folder}: a member of an ensemble needs the spread in rm_meta.json")
    return meta.normalisation.mean, meta.normalisation.std


def _own_weights(folder: Path) -> Mapping[str, float] | None:
    meta = read_meta(folder)
    return meta.weights if meta is not None and len(meta.dimensions) > 1 else None
