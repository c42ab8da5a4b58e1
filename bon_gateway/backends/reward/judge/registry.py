"""The methods of judging. To add one, write its file and its template, and name its settings in
``METHODS``. The settings and docs/settings.md follow from it."""

from __future__ import annotations

from bon_gateway.backends.reward.judge.generative_scoring import GenerativeScoringSettings
from bon_gateway.backends.reward.judge.listwise import ListwiseSettings
from bon_gateway.backends.reward.judge.method import MethodSettings
from bon_gateway.backends.reward.judge.pairwise import PairwiseSettings
from bon_gateway.backends.reward.judge.pointwise import PointwiseSettings

METHODS: tuple[type[MethodSettings], ...] = (
    PointwiseSettings,
    GenerativeScoringSettings,
    PairwiseSettings,
    ListwiseSettings,
)
