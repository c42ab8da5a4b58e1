"""What Prometheus sees.

Every app has a ``Metrics`` with a registry of its own. With several workers
``PROMETHEUS_MULTIPROC_DIR`` is set (``server`` does that): each worker then writes its values to
files there, and ``render`` adds up the files of all, so that any worker gives the same totals.
Label values are bounded: model names that are not served count as ``unknown``.
"""

from __future__ import annotations

import os
import time
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from bon_gateway.types import Selection, UpstreamState

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "bon_"
LIVE_GAUGES = "gauge_live*_"
"""How files of gauges that only count while their process lives begin; its id follows."""
UNKNOWN = "unknown"
GONE = nan
"""The gauge of what is no longer there; it is not shown."""

DURATION_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 21, 30, 60, 120, 300, 600)
OVERHEAD_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)
SCORE_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
REWARD = (-10, -8, -6, -5, -4, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 5, 6, 8, 10)
GAIN = (0, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 7.5, 10)


class Metrics:
    """All of the gateway's metrics.

    ``models`` are the served models' names, ``strategies`` those that a request may choose; with
    None the callers see to it that they name no other.
    """

    def __init__(
        self, models: Iterable[str] | None = None, strategies: Iterable[str] | None = None
    ) -> None:
        self._models = None if models is None else frozenset(models)
        self._strategies = None if strategies is None else frozenset(strategies)
        self._directory = os.environ.get(MULTIPROCESS_VARIABLE)
        self.registry = CollectorRegistry()
        reg = self.registry
        self._requests = _Counters(
            reg,
            "bon_requests",
            "Chat completions answered, by HTTP status (499: the client left).",
            ("model", "strategy", "status"),
        )
        self._duration = _Histograms(
            reg,
            "bon_request_duration_seconds",
            "From the first byte asked to the last byte answered.",
            ("model", "strategy"),
            DURATION_S,
        )
        self._overhead = _Histograms(
            reg,
            "bon_overhead_seconds",
            "The gateway's own share of a request's duration.",
            ("model", "strategy"),
            OVERHEAD_S,
        )
        self._candidates = _Counters(
            reg, "bon_candidates", "Candidates by what became of them.", ("model", "status")
        )
        self._tokens = _Counters(
            reg,
            "bon_tokens",
            "Tokens paid: the prompt once, winner, discarded, and read by the reward model.",
            ("model", "kind"),
        )
        self._degraded = _Counters(
            reg,
            "bon_degraded",
            "Answers that lost something on the way, by what was lost.",
            ("model", "reason"),
        )
        self._recorded = _Counters(
            reg,
            "bon_recorded",
            "Records of the candidate log: written, dropped (queue full) or failed (disk,"
            " or what cannot be made a line).",
            ("outcome",),
        )
        self._recorder_restarts = Counter(
            "bon_recorder_restarts",
            "Times that the candidate log's writer died and was started again.",
            registry=reg,
        )
        self._add_rewards(reg)
        self._add_gauges(reg)

    def _add_rewards(self, reg: CollectorRegistry) -> None:
        self._winner_reward = _Histograms(
            reg, "bon_winner_reward", "Raw reward of the winner.", ("model",), REWARD
        )
        self._gain = _Histograms(
            reg,
            "bon_reward_gain",
            "The winner's reward minus the mean of all scored candidates.",
            ("model",),
            GAIN,
        )
        # A histogram's sum falls when a negative value comes, which `rate` takes for a restart.
        # Two sums that only rise give the true mean.
        self._rewards = _Counters(
            reg,
            "bon_rewards",
            "Sum of the winners' rewards and of their gains, positive and negative apart.",
            ("model", "of", "sign"),
        )
        self._score = _Histograms(
            reg, "bon_score_seconds", "One call of a reward backend.", ("reward",), SCORE_S
        )
        self._score_errors = _Counters(
            reg,
            "bon_score_errors",
            "Calls of a reward backend that failed, by the code of the error: reward_refused is"
            " about what was to be scored, any other about the reward model.",
            ("reward", "code"),
        )

    def _add_gauges(self, reg: CollectorRegistry) -> None:
        self._requests_in_flight = Gauge(
            "bon_requests_in_flight",
            "API requests being answered now.",
            registry=reg,
            multiprocess_mode="livesum",
        )
        self._candidates_in_flight = Gauge(
            "bon_candidates_in_flight",
            "Candidates being drawn now.",
            registry=reg,
            multiprocess_mode="livesum",
        )
        # The states are written when metrics are asked for, so the newest view is the true one.
        self._upstream_up = Gauge(
            "bon_upstream_up",
            "Whether an upstream takes requests: 1 up, 0 not.",
            ("upstream",),
            registry=reg,
            multiprocess_mode="livemostrecent",
        )
        self._replicas = Gauge(
            "bon_replicas",
            "Upstreams of a policy or a reward model by their state.",
            ("backend", "state"),
            registry=reg,
            multiprocess_mode="livemostrecent",
        )
        self._reload_successful = Gauge(
            "bon_config_last_reload_successful",
            "Whether the settings that were read last are in force: 1 yes, 0 they were refused.",
            registry=reg,
            multiprocess_mode="livemin",
        )
        self._reload_time = Gauge(
            "bon_config_last_reload_timestamp_seconds",
            "Unix time at which settings were last read and found good.",
            registry=reg,
            multiprocess_mode="livemin",
        )
        self.reloaded(successful=True)
        self._upstreams: frozenset[str] = frozenset()
        self._backends: frozenset[str] = frozenset()
        # A process that gets the id of a dead one would go on from the dead one's gauges.
        self.set_requests_in_flight(0)
        self.set_candidates_in_flight(0)

    def know(self, models: Iterable[str], strategies: Iterable[str] = ()) -> None:
        """These models are served from now on, by these strategies. Requests for those before may
        still be running."""
        if self._strategies is not None:
            self._strategies |= frozenset(strategies)
        if self._models is not None:
            self._models |= frozenset(models)

    def reloaded(self, *, successful: bool) -> None:
        """Settings were read."""
        self._reload_successful.set(int(successful))
        if successful:
            self._reload_time.set(time.time())

    def observe_request(
        self, model: str | None, strategy: str | None, status: int, seconds: float
    ) -> None:
        """One chat completion has ended, well or not."""
        model = self._model(model)
        known = self._strategy(strategy)
        self._requests.add(1, model, known, str(status))
        self._duration.observe(seconds, model, known)

    def observe_selection(self, model: str, selection: Selection, overhead_s: float) -> None:
        """One selection was made: candidates, tokens, rewards, and what was lost."""
        model = self._model(model)
        self._overhead.observe(overhead_s, model, self._strategy(selection.strategy))
        statuses = [candidate.status for candidate in selection.candidates]
        for status in set(statuses):
            self._candidates.add(statuses.count(status), model, status)
        usage = selection.usage
        self._tokens.add(usage.prompt_tokens, model, "prompt")
        self._tokens.add(usage.winner_tokens, model, "winner")
        self._tokens.add(usage.discarded_tokens, model, "discarded")
        self._tokens.add(usage.reward_tokens, model, "reward")
        won = selection.winner.reward
        if won is not None and isfinite(won):
            self._winner_reward.observe(won, model)
            self._add_reward(won, model, "winner")
            scored = [
                c.reward
                for c in selection.candidates
                if c.reward is not None and isfinite(c.reward)
            ]
            if len(scored) > 1:
                gain = won - sum(scored) / len(scored)
                self._gain.observe(gain, model)
                self._add_reward(gain, model, "gain")
        for reason in selection.degraded:
            self._degraded.add(1, model, reason)

    def _add_reward(self, value: float, model: str, of: Literal["winner", "gain"]) -> None:
        sign, other = ("positive", "negative") if value >= 0 else ("negative", "positive")
        # Both signs exist from the first reward on: a mean of one that is missing has no data.
        self._rewards.know(model, of, other)
        self._rewards.add(abs(value), model, of, sign)

    def observe_discarded(self, model: str, tokens: int) -> None:
        """Generated tokens that nobody got: the client left, or the request failed."""
        self._tokens.add(tokens, self._model(model), "discarded")

    def observe_score(self, reward: str, seconds: float, error: str | None) -> None:
        """One call of a reward backend has ended, well or with an error of this code."""
        self._score.observe(seconds, reward)
        if error is not None:
            self._score_errors.add(1, reward, error)

    def observe_recorded(
        self, outcome: Literal["written", "dropped", "failed"], count: int
    ) -> None:
        """What became of records of the candidate log. Any thread may call it."""
        self._recorded.add(count, outcome)

    def observe_recorder_restart(self) -> None:
        self._recorder_restarts.inc()

    def set_requests_in_flight(self, count: int) -> None:
        self._requests_in_flight.set(count)

    def set_candidates_in_flight(self, count: int) -> None:
        self._candidates_in_flight.set(count)

    def set_upstreams(self, states: Mapping[str, Mapping[str, str]]) -> None:
        """Upstream to its state for each backend, as ``Gateway.states`` says. Call it before
        ``render``."""
        known = set()
        for backend, upstreams in states.items():
            tally = Tally(upstreams.values())
            for state in UpstreamState:
                self._replicas.labels(backend, state).set(tally[state])
            for upstream, told in upstreams.items():
                name = f"{backend}.{upstream}"
                known.add(name)
                self._upstream_up.labels(name).set(told == UpstreamState.UP)
        # Several processes' gauges have no way to be removed.
        for name in self._upstreams - known:
            self._upstream_up.labels(name).set(GONE)
        self._upstreams = frozenset(known)
        for backend in self._backends - set(states):
            for state in UpstreamState:
                self._replicas.labels(backend, state).set(GONE)
        self._backends = frozenset(states)

    def render(self) -> tuple[bytes, str]:
        """Prometheus' text format and its content type; of all workers together."""
        if self._directory is None:
            return generate_latest(_Own(self.registry)), CONTENT_TYPE_PLAIN_0_0_4
        _drop_gauges_of_the_dead(Path(self._directory))
        collector = _Workers(Path(self._directory))
        return generate_latest(_Own(collector)), CONTENT_TYPE_PLAIN_0_0_4

    def close(self) -> None:
        """This process has nothing in flight any more, and its view of upstreams is over."""
        self.set_requests_in_flight(0)
        self.set_candidates_in_flight(0)
        if self._directory is not None:
            for path in Path(self._directory).glob(f"{LIVE_GAUGES}{os.getpid()}.db"):
                path.unlink(missing_ok=True)

    def _model(self, name: str | None) -> str:
        if name is None or (self._models is not None and name not in self._models):
            return UNKNOWN
        return name

    def _strategy(self, name: str | None) -> str:
        if name is None or (self._strategies is not None and name not in self._strategies):
            return UNKNOWN
        return name


class _Counters:
    """A counter whose labelled children are looked up once."""

    __slots__ = ("_children", "_metric")

    def __init__(
        self, registry: CollectorRegistry, name: str, meaning: str, labels: tuple[str, ...]
    ) -> None:
        self._metric = Counter(name, meaning, labels, registry=registry)
        self._children: dict[tuple[str, ...], Counter] = {}

    def add(self, amount: float, *labels: str) -> None:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        child.inc(amount)

    def know(self, *labels: str) -> None:
        """The series exists, be it at 0."""
        if labels not in self._children:
            self._children[labels] = self._metric.labels(*labels)


class _Histograms:
    """A histogram whose labelled children are looked up once."""

    __slots__ = ("_children", "_metric")

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        meaning: str,
        labels: tuple[str, ...],
        buckets: Sequence[float],
    ) -> None:
        self._metric = Histogram(name, meaning, labels, registry=registry, buckets=buckets)
        self._children: dict[tuple[str, ...], Histogram] = {}

    def observe(self, amount: float, *labels: str) -> None:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        child.observe(amount)


class _Workers(Collector):
    """What all workers have written. The library's own collector stumbles over the file of a worker
    that has just made it and not yet written to it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        files = [str(path) for path in self._directory.glob("*.db") if _size(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return merged


def _size(path: Path) -> int:
    """0 if the file is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class _Own(Collector):
    """Leaves out the ``*_created`` series, which double the size and which nobody asks for, gauges
    of what is gone, and what a model in this process measures of itself, which comes into the same
    files."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        for metric in self._collector.collect():
            if metric.name.startswith(PREFIX):
                metric.samples = [
                    sample
                    for sample in metric.samples
                    if not (sample.name.endswith("_created") or isnan(sample.value))
                ]
                yield metric


def _drop_gauges_of_the_dead(directory: Path) -> None:
    """What a dead worker had in flight is in flight no more; its counters stay."""
    for path in directory.glob(f"{LIVE_GAUGES}*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            continue
