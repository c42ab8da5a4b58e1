"""The settings of a calibration: frozen, unknown keys refused. They build nothing and do no I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from bon_gateway.compare.settings import HookSettings
from bon_gateway.sections.base import Section, Url
from bon_gateway.settings.tree import AnyReward
from bon_gateway.strategies.votes import AnyExtract


class AskSettings(Section):
    """A running gateway whose candidates are recorded first."""

    url: Url
    """Base address, with or without ``/v1``."""
    model: str
    """The served model to ask."""
    prompts: Path
    """JSON lines, each with ``prompt``: text, or a list of messages."""
    limit: PositiveInt | None = None
    """Ask only so many prompts, drawn at random. None asks all."""
    n: Annotated[int, Field(ge=2)] = 16
    """Candidates for each prompt. The gateway's ``limits.max_n`` must allow it."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """Sampling parameters of the requests, such as ``temperature`` and ``max_tokens``. Use those of
    your traffic."""
    api_key_env: str | None = None
    """Environment variable with the key to send."""
    concurrency: PositiveInt = 4
    """Requests in flight."""
    timeout_s: PositiveFloat = 120.0
    """A request that takes longer counts as failed."""


class CalibrateSettings(Section):
    pools: tuple[Path, ...] = ()
    """Files of the candidate log, or folders that hold them."""
    ask: AskSettings | None = None
    """A gateway to ask, in place of ``pools``."""
    model: str | None = None
    """Read only requests for this served model. None reads all."""
    score_by: dict[str, AnyReward] = Field(default_factory=dict)
    """Rewards that first score the answers anew, by names of your choice, with the keys of the
    gateway's ``rewards``. Each becomes an entry of the candidates' ``rewards``. ``scores.jsonl`` in
    ``output`` keeps the scores."""
    reward: str | None = None
    """Choose by this entry of the candidates' ``rewards``. None chooses by their ``reward``, or by
    ``score_by`` if that names one reward."""
    gold: Literal["auto", "labelled", "ignored"] = "auto"
    """``auto`` calibrates by ``gold`` if all candidates have it, and by reward if none has.
    ``labelled`` keeps only the requests whose candidates all have it."""
    gold_by: HookSettings | None = None
    """A Python function that says the gold of an answer, for candidates without any. It gets the
    messages of the conversation and the text of the answer."""
    gold_reward: str | None = None
    """The entry of the candidates' ``rewards`` to use as gold for candidates without any, such as a
    judge in ``score_by``. A judge is not the truth."""
    at_least: Annotated[int, Field(ge=2)] = 2
    """Leave out requests that have fewer candidates with a reward."""
    n: Annotated[int, Field(ge=2)] | None = None
    """The most candidates that a request shall draw. None takes the largest power of two that is
    not above the smallest pool."""
    wave: PositiveInt | None = None
    """Candidates that ``good_enough`` draws at a time. None takes a quarter of ``n``."""
    extract: AnyExtract | None = None
    """Where the final answer stands. With it ``majority_of_the_bests`` is calibrated too."""
    good: float | None = None
    """Gold from which an answer is good. None takes the larger value where gold has only two, and
    otherwise no threshold is guaranteed."""
    risk: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The largest share of accepted answers that may be bad."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Share of the best strategy's gain over a single sample that a cheaper one may lose."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence of the intervals and of the guarantees."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Parts of the prompts. Each is measured with the parameter that the others choose."""
    resamples: Annotated[int, Field(ge=100)] = 1000
    """Bootstrap resamples behind the intervals."""
    seed: int = 0
    """Decides the folds and halves of the prompts, the requests' seeds and the resampling."""
    output: Path = Path("runs/calibrate")
    """Folder for the settings fragment and the report."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.pools) == (self.ask is not None):
            raise ValueError("pools: give either pools or a gateway to ask (--url)")
        if self.extract is not None and self.extract.by_meaning is not None:
            raise ValueError("extract: a calibration has no embedder to compare meaning with")
        return self

    @model_validator(mode="after")
    def _one_gold(self) -> Self:
        if self.gold_by is not None and self.gold_reward is not None:
            raise ValueError("gold_reward: give either a reward or a function (gold_by)")
        return self

    @property
    def chosen_by(self) -> str | None:
        """The entry of ``rewards`` that chooses; None for the recorded reward."""
        others = [name for name in self.score_by if name != self.gold_reward]
        return others[0] if self.reward is None and len(others) == 1 else self.reward
